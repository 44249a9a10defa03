//! `[[links]]`, read right and told wrong.

use super::*;

fn refused(text: &str) -> String {
    let problems = check(text, &machine()).expect_err(text);
    Problems::new("f", text, problems).to_string()
}

#[test]
fn a_link_has_a_name_a_cost_and_a_rate() {
    let checked = accepted(
        "[origins]\ncost = 50\n\
         [[links]]\nname = \"hamburg\"\npeers = [\"larder.hamburg.example\", \"203.0.113.12:17680\"]\n\
         networks = [\"10.2.0.7/16\"]\ncost = 20\nrate_bytes_per_second_max = \"5MB\"\n\
         [[links]]\npeers = [\"203.0.113.13\"]\n\
         [[links]]\npeers = [\"203.0.113.14\"]\ncost = 50\n",
    );
    let links: Vec<_> = checked
        .settings
        .links
        .all()
        .map(|line| line.link())
        .collect();
    assert_eq!(links[0].name, "hamburg");
    assert_eq!(
        (links[0].ends[0].port, links[0].ends[1].port),
        (7680, 17_680)
    );
    assert_eq!(links[0].networks[0].to_string(), "10.2.0.0/16");
    assert_eq!(
        (links[0].cost, links[0].bytes_per_second_max),
        (20, 5_000_000)
    );
    assert_eq!(
        (links[1].name.as_str(), links[1].cost),
        ("203.0.113.13", 10)
    );
    assert_eq!(links[1].bytes_per_second_max, 0);
    assert_eq!(checked.settings.links.used().count(), 2);
    let warned = checked.warnings.iter().any(|warning| {
        warning.contains("203.0.113.14") && warning.contains("nothing is fetched over it")
    });
    assert!(warned, "{:?}", checked.warnings);
    assert!(accepted("").settings.links.is_empty());
}

#[test]
fn what_is_wrong_with_a_link_is_told_with_its_place() {
    for (text, place, part) in [
        ("[links]\npeers = [\"a\"]\n", "1:1: links", "[[links]]"),
        ("[[links]]\nname = \"a\"\n", "1:1: links", "write peers"),
        (
            "[[links]]\npeers = []\n",
            "2:9: links.peers",
            "names nobody",
        ),
        (
            "[[links]]\npeers = [\"http://a\"]\n",
            "2:10: links.peers",
            "name or address",
        ),
        (
            "[[links]]\npeers = [\"a\"]\n[[links]]\npeers = [\"a:7680\"]\n",
            "4:10: links.peers",
            "at the end of \"a\" already",
        ),
        (
            "[[links]]\nname = \"x\"\npeers = [\"a\"]\n[[links]]\nname = \"x\"\npeers = [\"b\"]\n",
            "5:8: links.name",
            "another name",
        ),
        (
            "[[links]]\npeers = [\"a\"]\nnetworks = [\"10.2\"]\n",
            "3:13: links.networks",
            "no network",
        ),
        (
            "[[links]]\npeers = [\"a\"]\ncost = -1\n",
            "3:8: links.cost",
            "from 0 to 1000000",
        ),
        (
            "[[links]]\npeers = [\"a\"]\nrate_bytes_per_second_max = \"5 Mbit\"\n",
            "3:29: links.rate_bytes_per_second_max",
            "\"2GiB\"",
        ),
        (
            "[[links]]\npeers = [\"a\"]\nrate_bytes_per_second_max = 0\n",
            "3:29: links.rate_bytes_per_second_max",
            "nothing through",
        ),
        (
            "[[links]]\npeers = [\"a\"]\nrate = 5\n",
            "3:1: links.rate",
            "rate_bytes_per_second_max",
        ),
        (
            "[[links]]\npeer = [\"a\"]\n",
            "2:1: links.peer",
            "did you mean peers?",
        ),
    ] {
        let told = refused(text);
        let found = told
            .lines()
            .any(|line| line.contains(place) && line.contains(part));
        assert!(found, "{text}\n{told}");
    }
}
