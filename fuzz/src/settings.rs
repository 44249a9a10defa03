//! What administrators write, and what other programs wrote for them. The rule: every mistake is told with its place,
//! whatever the mistake is.

use crate::input::text;
use larder::config::{Machine, Problems, check, import as imported, with_policy};
use std::io;
use std::path::PathBuf;

fn machine() -> Machine {
    Machine {
        memory_bytes: 8 << 30,
        store: PathBuf::from("/var/lib/larder"),
        readable: |path| match path.starts_with("/there") {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        },
        secret: |_| Ok("0123456789abcdef0123456789abcdef\n".to_owned()),
        pair: |_| Ok(()),
        others_may_read: |path| path.ends_with("open"),
        credentials_directory: None,
        variable: |name| (name == "DRIVE").then(|| "/mnt/d".to_owned()),
        no_proxy: String::new(),
    }
}

/// A file: it is accepted, or each line that is told names the file.
pub(crate) fn config(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    if let Err(problems) = check(text, &machine()) {
        assert!(!problems.is_empty());
        let problems = Problems::new("larder.toml", text, problems);
        assert!(
            problems
                .lines()
                .iter()
                .all(|line| line.starts_with("larder.toml"))
        );
    }
}

/// Exported policy: what comes of it is a section that can be read, and that a file takes in.
pub(crate) fn import(data: &[u8]) {
    let Ok(imported) = imported(data) else {
        return;
    };
    let section = imported.section();
    if let Err(problems) = check(&section, &machine()) {
        panic!("{section}\n{}", Problems::new("f", &section, problems));
    }
    let file = "[policy]\nDODownloadMode = 1\n";
    if let Ok(text) = with_policy(file, &imported.settings)
        && let Err(problems) = check(&text, &machine())
    {
        panic!("{text}\n{}", Problems::new("f", &text, problems));
    }
}
