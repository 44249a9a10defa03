//! The list of appliances, as lines or as TOML. The rule: a mistake in it is told with its line, and nobody is asked.

use crate::cli::client::authority_of;
use serde::Deserialize;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One appliance of the list.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its metrics or admin address, `http://host:port`.
    #[serde(alias = "admin", alias = "metrics")]
    pub(super) url: String,
    /// A file with the token that an admin address off loopback asks for.
    #[serde(default)]
    pub(super) token_file: Option<PathBuf>,
    /// Appliances of one profile are to have the same settings.
    #[serde(default)]
    pub(super) profile: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(alias = "appliances")]
    appliance: Vec<Entry>,
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it, a line each.
pub(super) fn read(file: &Path) -> Result<Vec<Entry>, Vec<String>> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| {
        vec![format!(
            "{shown}: cannot be read: {error}; name a file that this user may read"
        )]
    })?;
    let mut entries = parse(&text).map_err(|problems| {
        let told = problems.into_iter();
        told.map(|(line, what)| format!("{shown}:{line}: {what}"))
            .collect::<Vec<_>>()
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    for entry in &mut entries {
        // Where the list lies is where its tokens are looked for.
        entry.token_file = entry.token_file.take().map(|token| folder.join(token));
    }
    Ok(entries)
}

type Problem = (usize, String);

fn parse(text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let is_toml = text.lines().any(|line| line.trim_start().starts_with('['));
    let numbered = match is_toml {
        true => of_toml(text).map_err(|problem| vec![problem])?,
        false => of_lines(text)?,
    };
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for (line, entry) in &numbered {
        if !names.insert(entry.name.clone()) {
            let what = format!(
                "{:?} is named twice; give each a name of its own",
                entry.name
            );
            problems.push((*line, what));
        }
        if let Err(error) = authority_of(&entry.url) {
            problems.push((*line, error.to_string()));
        }
    }
    if numbered.is_empty() {
        let what = "names no appliance; write a line with a name and http://host:port for each";
        problems.push((1, what.to_owned()));
    }
    if problems.is_empty() {
        Ok(numbered.into_iter().map(|(_, entry)| entry).collect())
    } else {
        Err(problems)
    }
}

/// `name address [token-file]`, with blanks or commas between.
fn of_lines(text: &str) -> Result<Vec<(usize, Entry)>, Vec<Problem>> {
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (line, written) in (1..).zip(text.lines()) {
        let written = written.split('#').next().unwrap_or_default();
        let words = written
            .split([' ', '\t', ','])
            .filter(|word| !word.is_empty());
        match words.collect::<Vec<_>>().as_slice() {
            [] => {}
            [name, url, token @ ..] if token.len() <= 1 => entries.push((
                line,
                Entry {
                    name: (*name).to_owned(),
                    url: (*url).to_owned(),
                    token_file: token.first().map(PathBuf::from),
                    profile: String::new(),
                },
            )),
            words => {
                let what = format!(
                    "has {} words; write a name, http://host:port and, where one is needed, a token file",
                    words.len()
                );
                problems.push((line, what));
            }
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(problems)
    }
}

fn of_toml(text: &str) -> Result<Vec<(usize, Entry)>, Problem> {
    let line_of = |at: usize| {
        text.get(..at)
            .map_or(1, |before| before.matches('\n').count() + 1)
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        let example =
            "write [[appliance]] with name, url and, where needed, token_file and profile";
        (line, format!("{}; {example}", error.message()))
    })?;
    let heads = text.match_indices("[[").map(|(at, _)| line_of(at));
    let lines = heads.chain(std::iter::repeat(1));
    Ok(lines.zip(document.appliance).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_toml_say_the_same() {
        let lines =
            "# offices\nberlin http://10.0.0.1:9181\n\nbonn,http://[::1]:9180,bonn.token # new\n";
        let toml = "[[appliance]]\nname = \"berlin\"\nurl = \"http://10.0.0.1:9181\"\n\
                    [[appliance]]\nname = \"bonn\"\nadmin = \"http://[::1]:9180\"\ntoken_file = \"bonn.token\"\n";
        let entries = parse(lines).expect("in order");
        assert_eq!(entries, parse(toml).expect("in order"));
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[1].token_file.as_deref(),
            Some(Path::new("bonn.token"))
        );
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, line, word) in [
            ("a\n", 1, "has 1 words"),
            ("\na http://a:1 b c\n", 2, "has 4 words"),
            ("a http://a:1\na http://b:1\n", 2, "named twice"),
            ("a ftp://a\n", 1, "write it as http://host:port"),
            ("# none\n", 1, "names no appliance"),
            ("[[appliance]]\nname = \"a\"\n", 1, "url"),
            (
                "[[appliance]]\nname = \"a\"\nurl = \"http://a:1\"\nport = 1\n",
                4,
                "port",
            ),
            (
                "[[appliance]]\nname = \"a\"\nurl = \"a:1\"\n",
                1,
                "http://host:port",
            ),
        ] {
            let problems = parse(text).expect_err(text);
            let (found, what) = &problems[0];
            assert_eq!(*found, line, "{text:?}: {what}");
            assert!(what.contains(word), "{text:?}: {what}");
        }
    }
}
