//! Variables of the environment in a path (seed: Modify Cache Drive). The rule: what is not set is an error, never an
//! empty text, since a cache would else come to lie at the root of a drive.

/// `text` with `%NAME%`, `$NAME` and `${NAME}` replaced by what `variable` says of them.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn expanded(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let value = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("the variable {name} is not set in larder's environment"))
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['%', '$']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let is_percent = from.starts_with('%');
        let after = &from[1..];
        let (name, behind) = if is_percent {
            after.split_once('%').unwrap_or(("", ""))
        } else if let Some(braced) = after.strip_prefix('{') {
            braced.split_once('}').unwrap_or(("", ""))
        } else {
            let end = after.find(|c: char| !is_of_name(c));
            after.split_at(end.unwrap_or(after.len()))
        };
        if name.is_empty() || !name.chars().all(is_of_name) {
            let sign = if is_percent { '%' } else { '$' };
            return Err(format!("no variable's name stands after {sign}"));
        }
        out.push_str(&value(name)?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/op".to_owned()),
            "N_1" => Some("7".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn every_form_of_a_variable_is_replaced() {
        let unset = |name| {
            Err(format!(
                "the variable {name} is not set in larder's environment"
            ))
        };
        let none = |sign| Err(format!("no variable's name stands after {sign}"));
        let rows = [
            ("/srv/do", Ok("/srv/do".to_owned())),
            ("%HOME%/do", Ok("/home/op/do".to_owned())),
            ("$HOME/do$N_1", Ok("/home/op/do7".to_owned())),
            ("${HOME}x/%N_1%%N_1%", Ok("/home/opx/77".to_owned())),
            ("/a%SystemDrive%", unset("SystemDrive")),
            ("$EMPTY/x", unset("EMPTY")),
            ("/a%", none('%')),
            ("/100%/b", none('%')),
            ("/a$", none('$')),
            ("${HOME", none('$')),
            ("%a b%", none('%')),
        ];
        for (text, wanted) in rows {
            assert_eq!(expanded(text, &variable), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[%${}éHOME_/]{0,16}") {
            let _ = expanded(&text, &variable);
        }
    }
}
