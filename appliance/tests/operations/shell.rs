//! Manual pages and completions. The rule: each command that `--help` names is in both.

use std::process::Command;

fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(arguments)
        .output()
        .expect("larder runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_command_has_its_page_and_is_completed() {
    let help = said(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    let folder = tempfile::tempdir().expect("a directory");
    let dir = folder.path().to_string_lossy();
    said(&["man", "--dir", &dir]);
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{command} in {shell}");
        }
    }
    for command in &commands {
        let page = folder.path().join(format!("larder-{command}.1"));
        assert!(page.exists(), "{}", page.display());
    }
    assert!(said(&["man"]).contains(".TH"));
}
