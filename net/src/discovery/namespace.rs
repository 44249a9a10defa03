//! Tests that need a network of their own. The rule: a test starts itself again inside a namespace that ends with it, and
//! says loudly where that can not be; CI passes none over.

use std::path::Path;
use std::process::Command;

const INSIDE: &str = "LARDER_TEST_INSIDE";

/// Where programs are, with those that only root is expected to call.
pub(crate) fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Does `what` inside a namespace, where the programs are there that it needs: by running the test `name`, which called
/// this, once more.
pub(crate) fn inside(name: &str, programs: &[&str], what: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return what();
    }
    let skip = |why: &str| {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI passes nothing over: {why}"
        );
        eprintln!("\n!! SKIPPED: {why}\n");
    };
    let there = |program: &&str| {
        path()
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
    };
    if let Some(missing) = programs.iter().find(|program| !there(program)) {
        return skip(&format!("{missing} is not installed"));
    }
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link"])
        .env("PATH", path())
        .output();
    match tried {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip(&format!("unshare and ip: {error}")),
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
