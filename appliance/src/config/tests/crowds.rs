//! `[[crowds]]`, read right and told wrong.

use super::*;

#[test]
fn nobody_is_counted_who_is_not_written_down() {
    assert!(accepted("").settings.crowds.is_empty());
    let checked = accepted(
        "[[crowds]]\nnetworks = [\"10.1.2.9/8\", \"fd00::/8\"]\nconnections_of_an_address_max = 64\n\
         [[crowds]]\nnetworks = [\"10.7.0.1/32\"]\nconnections_of_an_address_max = 0\n",
    );
    let crowds = &checked.settings.crowds;
    for (address, max) in [
        ("10.200.0.1", Some(64)),
        ("fd00::1", Some(64)),
        ("10.7.0.1", None),
        ("192.0.2.1", None),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(crowds.of(address), max, "{address}");
    }
}

#[test]
fn what_is_wrong_with_a_crowd_is_told_with_its_place() {
    let full = "networks = [\"10.0.0.0/8\"]\nconnections_of_an_address_max = 1\n";
    let many = format!("[[crowds]]\n{full}").repeat(257);
    for (text, place, part) in [
        ("[[crowds]]\n", "f:1:1", "does not say whom it is about"),
        (
            "[[crowds]]\n",
            "f:1:1",
            "connections_of_an_address_max = 64",
        ),
        (
            "[[crowds]]\nnetworks = [\"10.0.0.0/40\"]\nconnections_of_an_address_max = 1\n",
            "f:2:13",
            "is no network",
        ),
        (
            "[[crowds]]\nnetworks = [\"10.0.0.0/8\"]\nconnections_of_an_address_max = -1\n",
            "f:3:33",
            "out of range",
        ),
        ("[[crowds]]\nnetwork = []\n", "f:2", "network"),
        (&many, "f:769:1", "is one too many"),
    ] {
        let problems = check(text, &machine()).expect_err(text);
        let told = Problems::new("f", text, problems).to_string();
        let line = told
            .lines()
            .any(|line| line.contains(place) && line.contains(part));
        assert!(line, "{place} {part}: {told}");
    }
}
