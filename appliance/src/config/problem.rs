//! What is wrong in a configuration file. The rule: each problem says where it is, which key it is about, what is
//! wrong and what to write instead; all of a file's problems are told at once.

use std::fmt;

/// One mistake in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it begins: bytes from the beginning of the file.
    pub at: usize,
    /// The key, with its section; empty where the file is not even TOML.
    pub key: String,
    /// What is wrong, and after a semicolon what to write instead.
    pub what: String,
}

/// A place in one of several files.
pub(super) struct Located<'t> {
    pub(super) file: String,
    /// All of that file.
    pub(super) text: &'t str,
    /// Bytes from its beginning.
    pub(super) at: usize,
}

/// All that is wrong in a configuration, in the order in which it stands there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    lines: Vec<String>,
}

impl Problems {
    /// The problems of `text`, which was read from `file`.
    #[must_use]
    pub fn new(file: &str, text: &str, problems: Vec<Problem>) -> Self {
        Self::located(problems, |at| {
            Some(Located {
                file: file.to_owned(),
                text,
                at,
            })
        })
    }

    /// The problems of several files; `locate` finds the file of a place.
    pub(super) fn located<'t>(
        mut problems: Vec<Problem>,
        locate: impl Fn(usize) -> Option<Located<'t>>,
    ) -> Self {
        problems.sort_by_key(|problem| problem.at);
        problems.dedup();
        let lines = problems.iter().map(|problem| {
            let key = if problem.key.is_empty() {
                "not TOML"
            } else {
                &problem.key
            };
            let place = locate(problem.at).map_or_else(String::new, |found| {
                let (line, column) = line_and_column(found.text, found.at);
                format!("{}:{line}:{column}: ", found.file)
            });
            format!("{place}{key}: {}", problem.what)
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// The file could not be read at all.
    #[must_use]
    pub fn unreadable(file: &str, error: &std::io::Error) -> Self {
        let hint = "name a file that this user may read";
        Self {
            lines: vec![format!("{file}: cannot be read: {error}; {hint}")],
        }
    }

    /// One line for each problem.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Line and column, both from 1, the column in characters as editors count.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The one of `known` that `word` was probably meant to be.
pub(super) fn meant<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|k| (distance(word, k), *k));
    let (steps, name) = near.min_by_key(|(steps, _)| *steps)?;
    // A third of the letters wrong is still a slip; more is another word.
    if steps <= (word.len().max(name.len()) / 3).max(1) {
        return Some(name);
    }
    // Or it stopped where the key goes on, as before the unit.
    let begins = |k: &&&str| {
        k.strip_prefix(word)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    known.iter().find(begins).copied()
}

/// Letters to change, add or take away to get from one word to the other, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_the_end_is_a_place() {
        assert_eq!(line_and_column("a\nä = 1", 5), (2, 3));
        assert_eq!(line_and_column("a\n", 2), (2, 1));
        assert_eq!(line_and_column("", 99), (1, 1));
    }

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["http", "https", "memory_bytes_max"];
        assert_eq!(meant("HTTP", &known), Some("http"));
        assert_eq!(meant("memory_byte_max", &known), Some("memory_bytes_max"));
        assert_eq!(meant("htps", &known), Some("https"));
        assert_eq!(meant("memory", &known), Some("memory_bytes_max"));
        assert_eq!(meant("mem", &known), None);
        assert_eq!(meant("listen", &known), None);
    }
}
