//! The files that one configuration is written in: the file that was named, and `conf.d/*.toml` beside it. The rule:
//! they are read in the order of their names, what comes later goes before what came earlier, and each value keeps the
//! file and line where it stands.

use super::problem::{Located, Problem, Problems};
use super::raw::parse;
use larder_content::hash::of_piece;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The folder beside the file.
const FOLDER: &str = "conf.d";

/// Keys in which appliances differ by being different machines; they are no part of the hash.
const OF_THE_MACHINE: [&str; 15] = [
    "server.http",
    "server.https",
    "server.peer",
    "server.peer_external_port",
    "server.admin",
    "server.admin_names",
    "server.metrics",
    "server.memory_bytes_max",
    "server.shards",
    "server.site",
    "store.paths",
    "tls",
    "coordinator.http",
    "coordinator.https",
    "policy.DOModifyCacheDrive",
];

/// One file.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Bytes of the files before it.
    begins: usize,
    /// Its text, with as many blanks before it as there are bytes in the files before it: so that a place in it is a
    /// place in all of them.
    padded: String,
}

/// All files of a configuration, in their order.
#[derive(Debug)]
pub(super) struct Sources(Vec<Part>);

impl Sources {
    /// Reads the file and what lies beside it. None: no file, which gives the defaults.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, Problems> {
        let mut sources = Self(Vec::new());
        let Some(file) = file else {
            return Ok(sources);
        };
        sources.add(file)?;
        for path in beside(file)? {
            sources.add(&path)?;
        }
        Ok(sources)
    }

    fn add(&mut self, path: &Path) -> Result<(), Problems> {
        let text = fs::read_to_string(path)
            .map_err(|error| Problems::unreadable(&path.to_string_lossy(), &error))?;
        self.push(path, &text);
        Ok(())
    }

    fn push(&mut self, path: &Path, text: &str) {
        // A byte between them, so that the end of one is not the beginning of the next.
        let begins = self.0.last().map_or(0, |part| part.padded.len() + 1);
        self.0.push(Part {
            path: path.to_path_buf(),
            begins,
            padded: " ".repeat(begins) + text,
        });
    }

    /// The files' names, the one that was named first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|part| part.path.clone()).collect()
    }

    /// The tables of all files, merged; or what is not TOML.
    pub(super) fn parse(&self) -> (Spanned<DeTable<'_>>, Vec<Problem>) {
        let mut whole = Spanned::new(0..0, DeTable::new());
        let mut problems = Vec::new();
        for part in &self.0 {
            let (table, wrong) = parse(&part.padded);
            problems.extend(wrong);
            merge(whole.get_mut(), table.into_inner());
        }
        (whole, problems)
    }

    /// The file in which a place is.
    pub(super) fn file_of(&self, at: usize) -> Option<&Path> {
        self.part(at).map(|part| part.path.as_path())
    }

    fn part(&self, at: usize) -> Option<&Part> {
        self.0.iter().rev().find(|part| part.begins <= at)
    }

    /// Problems, each with its file, line and column.
    pub(super) fn located(&self, problems: Vec<Problem>) -> Problems {
        Problems::located(problems, |at| {
            let part = self.part(at)?;
            Some(Located {
                file: part.path.to_string_lossy().into_owned(),
                text: part.padded.get(part.begins..)?,
                at: at - part.begins,
            })
        })
    }
}

/// The files beside `file`, by name. No folder, no files.
fn beside(file: &Path) -> Result<Vec<PathBuf>, Problems> {
    let folder = file.parent().unwrap_or(Path::new("")).join(FOLDER);
    let unreadable = |error: &io::Error| Problems::unreadable(&folder.to_string_lossy(), error);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Tables become one, lists of tables are joined, anything else replaces what was there.
fn merge<'d>(into: &mut DeTable<'d>, from: DeTable<'d>) {
    for (key, value) in from {
        let Some(old) = into.get_mut(key.get_ref().as_ref()) else {
            into.insert(key, value);
            continue;
        };
        let range = value.span();
        match (old.get_mut(), value.into_inner()) {
            (DeValue::Table(old), DeValue::Table(new)) => merge(old, new),
            (DeValue::Array(old), DeValue::Array(new)) if of_tables(old) && of_tables(&new) => {
                for one in new {
                    old.push(one);
                }
            }
            (_, new) => {
                // The key as well, so that what is wrong with it is told where it stands now.
                into.remove(key.get_ref().as_ref());
                into.insert(key, Spanned::new(range, new));
            }
        }
    }
}

fn of_tables(list: &[Spanned<DeValue<'_>>]) -> bool {
    !list.is_empty() && list.iter().all(|one| one.get_ref().is_table())
}

/// A number of 48 bits that is another where a setting is, and the same on machines that differ in addresses, names and
/// sizes alone. A setting that is written with its default is another than one that is not written.
pub(super) fn hash(document: &DeTable<'_>) -> u64 {
    let mut text = String::new();
    table("", document, &mut text);
    let hash = of_piece(text.as_bytes());
    hash[..6]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn table(path: &str, table: &DeTable<'_>, out: &mut String) {
    for (key, value) in table {
        let path = match path {
            "" => key.get_ref().to_string(),
            above => format!("{above}.{}", key.get_ref()),
        };
        if OF_THE_MACHINE.contains(&path.as_str()) {
            continue;
        }
        match value.get_ref() {
            DeValue::Table(below) => self::table(&path, below, out),
            other => {
                out.push_str(&path);
                out.push('=');
                self::value(other, out);
                out.push('\n');
            }
        }
    }
}

fn value(of: &DeValue<'_>, out: &mut String) {
    match of {
        DeValue::String(text) => out.push_str(&format!("{text:?}")),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => out.push_str(&number.to_string()),
            Err(_) => out.push_str(number.as_str()),
        },
        DeValue::Float(number) => out.push_str(number.as_str()),
        DeValue::Boolean(flag) => out.push_str(&flag.to_string()),
        DeValue::Datetime(when) => out.push_str(&when.to_string()),
        DeValue::Array(list) => {
            out.push('[');
            for one in list {
                value(one.get_ref(), out);
                out.push(',');
            }
            out.push(']');
        }
        DeValue::Table(below) => {
            out.push('{');
            table("", below, out);
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[&str]) -> Sources {
        let mut sources = Sources(Vec::new());
        for (number, text) in texts.iter().enumerate() {
            sources.push(Path::new(&format!("{number}.toml")), text);
        }
        sources
    }

    fn hash_of(texts: &[&str]) -> u64 {
        let sources = sources(texts);
        let (document, problems) = sources.parse();
        assert_eq!(problems, []);
        hash(document.get_ref())
    }

    #[test]
    fn a_place_is_in_the_file_where_it_was_written() {
        let sources = sources(&["[server]\nsite = \"a\"\n", "[server]\nsite = 7", "x ="]);
        let (document, problems) = sources.parse();
        let told = sources.located(problems);
        assert!(told.lines()[0].starts_with("2.toml:1:"), "{told}");
        let server = document.get_ref()["server"].get_ref();
        let site = server.get("site").expect("there");
        let problem = Problem {
            at: site.span().start,
            key: "server.site".to_owned(),
            what: "wrong".to_owned(),
        };
        let told = sources.located(vec![problem]).to_string();
        assert_eq!(told, "1.toml:2:8: server.site: wrong");
    }

    #[test]
    fn what_comes_later_holds_and_lists_of_tables_are_joined() {
        let merged = [
            "[policy]\nDOMaxCacheAge = 1\nDODownloadMode = 1\n[[links]]\nname = \"a\"",
            "[policy]\nDOMaxCacheAge = 2\n[[links]]\nname = \"b\"\n[origins]\nallow = [\"x\"]",
            "[origins]\nallow = [\"y\"]",
        ];
        let one = "[policy]\nDODownloadMode = 1\nDOMaxCacheAge = 2\n[origins]\nallow = [\"y\"]\n\
                   [[links]]\nname = \"a\"\n[[links]]\nname = \"b\"";
        assert_eq!(hash_of(&merged), hash_of(&[one]));
    }

    #[test]
    fn the_hash_is_of_what_machines_should_have_alike() {
        let base = hash_of(&["[server]\nsite = \"a\"\n[policy]\nDODownloadMode = 1"]);
        for same in [
            "[server]\nsite = \"b\"\nhttp = [\"[::]:80\"]\n[policy]\nDODownloadMode = 1",
            "# alike\n[policy]\nDODownloadMode = 0x1\n[store]\npaths = [\"/x\"]",
        ] {
            assert_eq!(hash_of(&[same]), base, "{same}");
        }
        for other in [
            "[policy]\nDODownloadMode = 2",
            "[policy]\nDODownloadMode = 1\nDOMaxCacheAge = 3",
            "[server]\ncache_status = false\n[policy]\nDODownloadMode = 1",
        ] {
            assert_ne!(hash_of(&[other]), base, "{other}");
        }
        assert!(base < 1 << 48);
    }
}
