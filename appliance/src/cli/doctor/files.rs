//! The configuration and who may change it. The rule: what the program itself says of a file is told in its words.

use super::finding::{Grade, Told, bad, fair, good, sentence};
use super::patient::Patient;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Permission bits: others, and the group.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

pub(super) fn config(patient: &Patient) -> Vec<Told> {
    let about = match &patient.file {
        Some(file) => format!("configuration {}", file.display()),
        None if patient.whom.is_remote() => return Vec::new(),
        None => "configuration".to_owned(),
    };
    if !patient.problems.is_empty() {
        let advice = "`larder check-config FILE` says it with its place until it is right";
        let lines = patient.problems.iter();
        return lines
            .map(|line| bad(line, advice).about(about.as_str()))
            .collect();
    }
    let mut told = vec![match &patient.file {
        Some(_) => good("in order"),
        None => good("none: the defaults of `larder serve`"),
    }];
    let warnings = patient.config.iter().flat_map(|config| &config.warnings);
    told.extend(warnings.map(|words| sentence(Grade::Fair, words)));
    told.into_iter()
        .map(|told| told.about(about.as_str()))
        .collect()
}

pub(super) fn modes(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let mut told: Vec<Told> = config.files.iter().filter_map(|file| mode(file)).collect();
    if told.is_empty() && !config.files.is_empty() {
        // Who may read it is all the same: passwords and keys lie in files of their own, which it names.
        told.push(good("its owner alone may"));
    }
    told
}

fn mode(file: &Path) -> Option<Told> {
    // Whoever may write the folder may put another file there.
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    for (path, is_folder) in [(Some(file), false), (folder, true)] {
        let Some(path) = path else { continue };
        let found = fs::metadata(path).ok()?;
        let mode = found.permissions().mode();
        // Of a folder with the sticky bit everybody may write to, but not put anything in the place of this.
        let sticky = is_folder && mode & 0o1000 != 0;
        let name = path.display();
        if mode & OTHERS_WRITE != 0 && !sticky {
            return Some(bad(
                format!("every user of this machine may change {name}, and so what larder does"),
                format!("chmod o-w {name}"),
            ));
        }
        if mode & GROUP_WRITES != 0 && found.gid() != 0 && !sticky {
            return Some(fair(
                format!(
                    "the group {} may change {name}, and so what larder does",
                    found.gid()
                ),
                format!("chmod g-w {name}, unless these are its administrators"),
            ));
        }
    }
    None
}
