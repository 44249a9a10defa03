//! The commands that the documents show are commands that there are.

use super::Args;
use clap::Parser;
use clap::error::ErrorKind;
use std::fs;
use std::path::{Path, PathBuf};

/// Every document for administrators.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = fs::read_dir(root.join("docs")).expect("docs/ is there");
    let mut all: Vec<_> = folder
        .map(|entry| entry.expect("readable").path())
        .collect();
    all.extend([root.join("README.md"), root.join("SECURITY.md")]);
    all.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    all
}

/// The commands of a text: lines of their own, and what stands between backticks, a line break in it or not.
fn commands(text: &str) -> Vec<String> {
    let is_larder = |words: &str| words.trim_start().starts_with("larder ");
    let of_lines = text
        .lines()
        .filter(|line| line.starts_with("    ") && is_larder(line));
    let paragraphs = text.split("\n\n");
    let of_words = paragraphs.flat_map(|paragraph| {
        let spans = paragraph.split('`').skip(1).step_by(2);
        spans
            .filter(|span| span.starts_with("larder "))
            .collect::<Vec<_>>()
    });
    of_lines.chain(of_words).map(str::to_owned).collect()
}

#[test]
fn every_command_that_is_shown_is_one() {
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        for command in commands(&text) {
            // What may be left out is tried, too; a remark or where the output goes is for the shell.
            let words = command.replace(['[', ']'], " ");
            let words = words.split_whitespace();
            let words = words.take_while(|word| !["#", ">", "|", "&&"].contains(word));
            seen += 1;
            let Err(error) = Args::try_parse_from(words) else {
                continue;
            };
            // `larder get` in a sentence is the command's name.
            let is_name = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            assert!(is_name, "{}: {command}: {error}", document.display());
        }
    }
    assert!(seen > 40, "only {seen} commands are shown");
}
