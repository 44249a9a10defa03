//! What a check tells. The rule: what is found and what to do about it are told apart, and what is good needs no advice.

use serde::Serialize;

/// How a thing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Good,
    /// It works, but not as well as it could, or it can not be told from here.
    Fair,
    /// It does not work.
    Bad,
}

/// One thing that was looked at, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    /// Which check it was: these names stay.
    pub(super) check: &'static str,
    pub(super) about: String,
    pub(super) found: String,
    #[serde(rename = "do")]
    pub(super) advice: Option<String>,
}

/// The same as a check tells it, which need not say who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub(super) grade: Grade,
    /// What of many it is; else what the check is about.
    pub(super) about: Option<String>,
    pub(super) found: String,
    pub(super) advice: Option<String>,
}

impl Told {
    /// What it is told of.
    pub(super) fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }
}

pub(super) fn good(found: impl Into<String>) -> Told {
    Told {
        grade: Grade::Good,
        about: None,
        found: found.into(),
        advice: None,
    }
}

pub(super) fn fair(found: impl Into<String>, advice: impl Into<String>) -> Told {
    Told {
        grade: Grade::Fair,
        advice: Some(advice.into()),
        ..good(found)
    }
}

pub(super) fn bad(found: impl Into<String>, advice: impl Into<String>) -> Told {
    Told {
        grade: Grade::Bad,
        ..fair(found, advice)
    }
}

/// A sentence of this program, which says what is wrong, a semicolon, and what to do.
pub(super) fn sentence(grade: Grade, text: &str) -> Told {
    let (found, advice) = match text.split_once("; ") {
        Some((found, advice)) => (found, Some(advice.to_owned())),
        None => (text, None),
    };
    Told {
        grade,
        advice,
        ..good(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_told_apart_where_it_says_what_to_do() {
        let told = sentence(Grade::Bad, "it burns; fetch water; run");
        assert_eq!(told, bad("it burns", "fetch water; run"));
        assert_eq!(sentence(Grade::Good, "all is well"), good("all is well"));
    }
}
