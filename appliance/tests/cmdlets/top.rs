//! `larder top`. The rule: what it shows of a moment is what goes on in it, and a terminal is left as it was.

use super::{MIB, assert_percentages, keys, set, slow_house, told};
use crate::rig::larder::PLAIN;
use crate::rig::{self, assert_same, eventually, have};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

#[test]
fn what_goes_on_is_shown_once_to_programs_and_again_and_again_on_a_terminal() {
    if !have(&["nginx", "script"]) {
        return;
    }
    let (nginx, larder) = slow_house("1m");
    let wanted = rig::real_bytes(12 * MIB);
    nginx.put("/slow/top.cab", &wanted);
    let get = larder.get(PLAIN, "/slow/top.cab");
    let client = thread::spawn(move || get.run());
    let seen = eventually("it is seen to come", || {
        let top = told(&larder, &["top"]);
        let rate = top["Rates"]["FromHttp"].as_u64()?;
        (rate > 0 && !top["Downloads"][0].is_null()).then_some(top)
    });
    assert_eq!(
        keys(&seen),
        set(&["Rates", "PerfSnap", "Downloads", "Clients"])
    );
    assert_percentages(&seen);
    assert_eq!(
        seen["Downloads"][0]["SourceURL"],
        format!("http://{PLAIN}/slow/top.cab")
    );
    let text = larder.told(&["top"]);
    for words in ["BYTES/S", "to clients", "/slow/top.cab", "CLIENT"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "no terminal: {text}");
    let answer = client.join().expect("it ended").expect("an answer");
    assert_same(&answer.body, &wanted, "the file");
    let text = larder.told(&["top", "--once"]);
    assert!(text.contains("127.0.0.1"), "the client: {text}");

    // On a terminal, until it is interrupted.
    let (pid, into) = (
        larder.directory().join("pid"),
        larder.directory().join("typescript"),
    );
    let larder_top = format!(
        "sh -c 'echo $$ > {}; exec {} top --interval 1 --config {}'",
        pid.display(),
        env!("CARGO_BIN_EXE_larder"),
        larder.config().display()
    );
    let mut script = Command::new("script")
        .args(["-q", "-e", "-f", "-c", &larder_top])
        .arg(&into)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("script runs");
    let (enter, leave, clear) = ("\u{1b}[?1049h", "\u{1b}[?1049l", "\u{1b}[H\u{1b}[J");
    let screen = || fs::read_to_string(&into).unwrap_or_default();
    eventually("it is drawn again", || {
        (screen().matches(clear).count() >= 3).then_some(())
    });
    let pid = fs::read_to_string(pid).expect("written");
    let interrupt = Command::new("kill").args(["-INT", pid.trim()]).status();
    assert!(interrupt.expect("kill runs").success());
    let status = script.wait().expect("it ended");
    let screen = screen();
    assert!(status.success(), "{status}: {screen}");
    assert!(
        screen.contains(enter) && screen.contains("BYTES/S"),
        "{screen}"
    );
    let after = screen.rsplit(leave).next().unwrap_or_default();
    assert!(
        screen.contains(leave) && !after.contains("BYTES/S"),
        "{screen}"
    );
}
