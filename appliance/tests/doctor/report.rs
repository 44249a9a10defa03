//! What the doctor said, as a program reads it. The rule: a check is as bad as the worst of what it found.

use super::rig::larder::{FAMILY, Larder, Setup};
use super::rig::nginx::Nginx;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::process::{Command, Output};

/// What the vendor lets administrators ask for to test a cache host (facts: clients 1.7).
pub(crate) const PROBE: &str = "/mscomtest/wuidt.gif";

/// An answer of `larder doctor --json`.
pub(crate) struct Report {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl fmt::Debug for Report {
    /// What is not good.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {:?}", self.code)?;
        let all = self.findings.iter();
        for one in all.filter(|one| one["grade"] != "good") {
            writeln!(f, "{one}")?;
        }
        Ok(())
    }
}

impl Report {
    pub(crate) fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let findings = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        let report = Self {
            findings,
            code: output.status.code(),
        };
        let bad = !report.bad().is_empty();
        assert_eq!(report.code, Some(i32::from(bad)), "{report:?}");
        for finding in &report.findings {
            let needs = finding["grade"] != "good";
            let has = finding["do"].as_str().is_some_and(|words| words.len() > 5);
            let reasons = finding["check"] == "appliance" || finding["check"] == "config";
            assert!(has || !needs || reasons, "what to do about it? {finding}");
        }
        report
    }

    fn bad(&self) -> BTreeSet<&str> {
        let bad = self.findings.iter().filter(|one| one["grade"] == "bad");
        bad.filter_map(|one| one["check"].as_str()).collect()
    }

    /// `good`, `fair`, `bad`, or nothing where it found nothing.
    pub(crate) fn grade(&self, check: &str) -> &str {
        let of_check = self.findings.iter().filter(|one| one["check"] == check);
        let grades: Vec<_> = of_check.filter_map(|one| one["grade"].as_str()).collect();
        let worst = ["bad", "fair", "good"].into_iter();
        worst
            .into_iter()
            .find(|grade| grades.contains(grade))
            .unwrap_or("")
    }

    /// All that a check said.
    pub(crate) fn said(&self, check: &str) -> String {
        let of_check = self.findings.iter().filter(|one| one["check"] == check);
        let words =
            of_check.map(|one| format!("{}: {}; {}\n", one["about"], one["found"], one["do"]));
        words.collect()
    }

    /// Nothing is bad, and this check is good.
    pub(crate) fn is_well(&self, check: &str) {
        assert!(self.bad().is_empty(), "{self:?}");
        assert_eq!(self.grade(check), "good", "{check}: {}", self.said(check));
    }

    /// This check has turned to `grade`, and says all of `words`; no other is bad, but for those that the fault breaks
    /// as well.
    pub(crate) fn turned(&self, check: &str, grade: &str, words: &[&str], besides: &[&str]) {
        assert_eq!(self.grade(check), grade, "{check}: {self:?}");
        for word in words {
            let said = self.said(check);
            assert!(said.contains(word), "{word:?} is missing in {said}");
        }
        let bad = self.bad();
        let mut others = bad
            .iter()
            .filter(|bad| **bad != check && !besides.contains(*bad));
        assert!(others.next().is_none(), "{check}, but: {self:?}");
    }
}

/// However slow the machine is that this runs on, nothing but a fault is taken for one.
const PATIENT: [&str; 4] = ["doctor", "--json", "--timeout", "60"];

/// The doctor of that appliance.
pub(crate) fn look(larder: &Larder) -> Report {
    look_with(larder, &[])
}

/// The doctor with half of that patience, where all of what it has for an answer is used up.
pub(crate) fn look_hastily(larder: &Larder) -> Report {
    Report::of(&larder.command(&["doctor", "--json", "--timeout", "30"]))
}

pub(crate) fn look_with(larder: &Larder, arguments: &[&str]) -> Report {
    let all: Vec<&str> = PATIENT.iter().chain(arguments).copied().collect();
    Report::of(&larder.command(&all))
}

/// The same, started by another program.
pub(crate) fn look_through(larder: &Larder, through: &[&str]) -> Report {
    let mut command = Command::new(through[0]);
    command.args(&through[1..]);
    command.arg(env!("CARGO_BIN_EXE_larder"));
    command.args(PATIENT).arg("--config").arg(larder.config());
    Report::of(&command.output().expect("it runs"))
}

/// An origin that has what ranges are tried with.
pub(crate) fn origin() -> Nginx {
    let nginx = Nginx::start();
    nginx.put(PROBE, &[7; 5000]);
    nginx
}

/// An appliance before it, set up by `adjust`; no name is looked up outside of this machine.
pub(crate) fn appliance(nginx: &Nginx, adjust: impl FnOnce(&mut Setup)) -> Larder {
    let mut setup = Setup {
        origin: Some(nginx.address()),
        origins: format!("allow = [{:?}]\n", FAMILY[0]),
        more: "[coordinator]\nmode = \"off\"\n",
        ..Setup::default()
    };
    adjust(&mut setup);
    Larder::start(&setup)
}

/// Puts one text in the place of another in its configuration, without telling it.
pub(crate) fn rewrite(larder: &Larder, old: &str, new: &str) {
    let text = std::fs::read_to_string(larder.config()).expect("its configuration");
    assert!(text.contains(old), "{old:?} is not in {text}");
    std::fs::write(larder.config(), text.replacen(old, new, 1)).expect("written");
}
