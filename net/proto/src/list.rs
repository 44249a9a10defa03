//! The elements of a field value that is a list (RFC 9110, section 5.6.1). The rule: a comma inside quotes is part of
//! its element, and a quote that is never closed hides nothing.

/// The next element, without the spaces around it, and what follows it. `None` where there is no more.
pub(crate) fn next_item(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list
        .iter()
        .position(|byte| !byte.is_ascii_whitespace() && *byte != b',')?;
    let list = &list[start..];
    let (mut quoted, mut escaped) = (false, false);
    let end = list.iter().position(|byte| {
        if escaped {
            escaped = false;
        } else {
            match byte {
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
        }
        *byte == b',' && !quoted
    });
    // A quote that is never closed hides nothing: then every comma separates.
    let comma = || list.iter().position(|byte| *byte == b',');
    let end = end.or_else(|| if quoted { comma() } else { None });
    let (item, rest) = list.split_at(end.unwrap_or(list.len()));
    Some((item.trim_ascii(), rest))
}

/// All elements of a list.
pub(crate) fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (item, after) = next_item(rest)?;
        rest = after;
        Some(item)
    })
}

/// True for what can be the name of a field or directive (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(of_token)
}

/// Both forms of an argument are to be accepted (RFC 9111, section 5.2): without the quotes, where there are two.
pub(crate) fn unquoted(argument: &[u8]) -> &[u8] {
    argument
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(list: &str) -> Vec<String> {
        let text = |item: &[u8]| String::from_utf8_lossy(item).into_owned();
        items(list.as_bytes()).map(text).collect()
    }

    #[test]
    fn quotes_hold_commas_together_where_they_are_closed() {
        assert_eq!(split(" a ,,\tb=\"c, d\" , "), ["a", "b=\"c, d\""]);
        assert_eq!(split("a=\"\\\", b\", c"), ["a=\"\\\", b\"", "c"]);
        assert_eq!(split("a=\"b, c"), ["a=\"b", "c"]);
        assert_eq!(split(" , "), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn without_quotes_it_is_a_plain_split(list in "[a-c ,;=]{0,30}") {
            let slow: Vec<String> = list
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect();
            prop_assert_eq!(split(&list), slow);
        }
    }
}
