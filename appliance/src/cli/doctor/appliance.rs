//! Whether the appliance answers, and lets its administrator in. The rule: one that hangs is told from one that is not
//! there; and the token is tried with a call that changes nothing.

use super::finding::{Grade, Told, bad, fair, good, sentence};
use super::patient::{Away, Patient};
use hyper::Method;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Without the parameter that it wants it is refused as unclear, whoever asks; but whoever may not ask is told that first.
const CHANGES_NOTHING: &str = "/api/v1/pin";
/// Permission bits of all but the owner.
const NOT_ITS_OWNER: u32 = 0o077;

pub(super) fn answers(patient: &Patient) -> Vec<Told> {
    if !patient.may_be_asked() {
        // Where it would be asked stands in the configuration, which is told of.
        return Vec::new();
    }
    let answer = match patient.ready() {
        Ok(answer) => answer,
        Err(away) => return vec![silent(away)],
    };
    let mut lines = answer.text.lines();
    let first = lines.next().unwrap_or("no answer");
    let grade = match (answer.status.as_u16(), first) {
        (401 | 403, _) => return vec![good("answers; what it says takes the token")],
        (200, "ready") => Grade::Good,
        (200, _) => Grade::Fair,
        _ => Grade::Bad,
    };
    let mut told = vec![sentence(grade, first)];
    told.extend(lines.map(|reason| sentence(grade, reason)));
    told
}

fn silent(away: &Away) -> Told {
    let words = &away.words;
    if !away.hangs {
        return sentence(Grade::Bad, words);
    }
    match stopped(Path::new("/proc")).first() {
        Some(pid) => bad(
            format!("{words}: process {pid} of larder is stopped (SIGSTOP, or a debugger)"),
            format!("kill -CONT {pid}"),
        ),
        None => bad(
            format!("{words}: it hangs, or the machine has too much to do"),
            "see `journalctl -u larder`, `top`, and `larder_shards_stuck`; `systemctl restart larder` starts it anew",
        ),
    }
}

/// Processes of larder that are stopped.
fn stopped(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let of = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        let is_larder = before.split_once('(')?.1 == "larder";
        let state = after.split_whitespace().next()?;
        (is_larder && matches!(state, "T" | "t")).then_some(pid)
    });
    of.collect()
}

pub(super) fn token(patient: &Patient) -> Vec<Told> {
    if !patient.may_be_asked() || patient.is_coordinator_alone() {
        return Vec::new();
    }
    let mut told = Vec::new();
    let file = patient.whom.token_file();
    if let Some(file) = &file {
        let name = file.display();
        match fs::metadata(file) {
            Ok(found) if found.permissions().mode() & NOT_ITS_OWNER != 0 => told.push(bad(
                format!("others than its owner may read {name}, and purge with it what is stored"),
                format!("chmod 600 {name}, and restart larder: it makes a new one where others could read the old"),
            )),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return vec![fair(
                    format!("{name} can not be read by this user"),
                    "run this as the user that larder runs as",
                )];
            }
            // Where it does not run there need be none yet.
            Err(_) if patient.ready().is_err() => return Vec::new(),
            Err(error) => {
                return vec![bad(
                    format!("{name}: {error}"),
                    "name the one of the running appliance by --token-file; `systemctl restart larder` makes a new one",
                )];
            }
        }
    }
    let Ok(ready) = patient.ready() else {
        return told;
    };
    if file.is_none() && ready.status.is_success() {
        told.push(good("not tried, since none is named"));
        return told;
    }
    match patient.ask(Method::POST, CHANGES_NOTHING) {
        Ok(answer) if matches!(answer.status.as_u16(), 401 | 403) => {
            let words = answer.text.lines().next().unwrap_or("refused");
            let words = words.strip_prefix("larder: ").unwrap_or(words);
            let found = match &file {
                Some(file) => format!(
                    "the appliance does not take that of {}: {words}",
                    file.display()
                ),
                None => words.to_owned(),
            };
            told.push(bad(
                found,
                "name the one of the running appliance by --token-file (admin.token in the first directory of its store)",
            ));
        }
        Ok(_) if told.is_empty() => told.push(good("the appliance takes it")),
        Ok(_) => {}
        Err(error) => told.push(sentence(Grade::Bad, &format!("{error:#}"))),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_process_of_larder_is_found() {
        let proc = tempfile::tempdir().expect("a folder");
        for (pid, stat) in [
            ("12", "12 (larder) T 1 12 12"),
            ("13", "13 (larder) S 1 13 13"),
            ("14", "14 (a (larder) T) T 1 14"),
            ("self", "12 (larder) T 1 12 12"),
        ] {
            fs::create_dir(proc.path().join(pid)).expect("made");
            fs::write(proc.path().join(pid).join("stat"), stat).expect("written");
        }
        assert_eq!(stopped(proc.path()), [12]);
    }
}
