//! Which certificate a client is shown. The rule: the one that bears the name which the client asks for, by that name
//! before a wildcard; else the first one, since a client that names nobody must be shown something.

use std::collections::HashMap;

/// Names of certificates, by the number of the certificate. Where two bear the same name, the earlier has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    whole: HashMap<String, usize>,
    /// What follows the asterisk and its dot.
    wildcards: HashMap<String, usize>,
}

impl Names {
    /// The names of certificate 0, 1, and so on.
    pub fn new<'n, I>(certificates: impl IntoIterator<Item = I>) -> Self
    where
        I: IntoIterator<Item = &'n str>,
    {
        let mut names = Self::default();
        for (number, certificate) in certificates.into_iter().enumerate() {
            for name in certificate {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(parent) => names.wildcards.entry(parent.to_owned()).or_insert(number),
                    None => names.whole.entry(name).or_insert(number),
                };
            }
        }
        names
    }

    /// The number of the certificate for a client that asks for `name`.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return 0 };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // An asterisk stands for one whole label (RFC 9525, section 6.3).
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        let found = self.whole.get(&name);
        let found = found.or_else(|| self.wildcards.get(parent()?));
        found.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_and_the_first_is_for_the_rest() {
        let names = Names::new([
            vec!["larder.example", "cache.example"],
            vec!["*.site.example", "Berlin.Site.Example"],
            vec!["deep.a.site.example", "berlin.site.example"],
        ]);
        for (name, number) in [
            (None, 0),
            (Some("unknown.example"), 0),
            (Some("cache.example"), 0),
            (Some("CACHE.example."), 0),
            (Some("paris.site.example"), 1),
            (Some("berlin.site.example"), 1),
            (Some("deep.a.site.example"), 2),
            (Some("other.a.site.example"), 0),
            (Some("site.example"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(names.find(name), number, "{name:?}");
        }
    }

    #[test]
    fn a_name_of_its_own_goes_before_an_earlier_wildcard() {
        let names = Names::new([vec!["*.site.example"], vec!["berlin.site.example"]]);
        assert_eq!(names.find(Some("berlin.site.example")), 1);
        assert_eq!(names.find(Some("paris.site.example")), 0);
    }
}
