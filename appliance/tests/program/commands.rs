//! The commands that speak with a running appliance.

use crate::running::Home;

#[test]
fn commands_find_the_appliance_and_say_what_they_did() {
    let home = Home::new("");
    let serving = home.serve();
    let url = serving.admin_url();
    let token = home.token_file();
    let token = token.to_string_lossy();
    let with = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--admin", &url, "--token-file", &token]);
        home.run(&all)
    };
    assert_eq!(with(&["ls"]).0, Some(0));
    assert!(with(&["ls"]).1.ends_with("0 objects, 0 B on disk\n"));
    let (code, out, _) = with(&["ls", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["objects"]), (Some(0), &serde_json::json!([])));
    let (code, _, err) = with(&["stat", "http://a.example/x"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "larder: this is not stored here\n")
    );
    let (code, out, _) = with(&["purge", "a.example"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "purged 0 objects, 0 B on disk\n")
    );
    let (code, _, err) = with(&["purge"]);
    assert_eq!(
        (code, err.as_str()),
        (
            Some(1),
            "larder: name an object, or --all for all of them\n"
        )
    );
    assert_eq!(with(&["pin", "--all"]).1, "pinned 0 objects\n");
    assert_eq!(with(&["unpin", "--all"]).1, "unpinned 0 objects\n");
    assert!(
        with(&["verify", "--all"])
            .1
            .ends_with("0 objects, nothing damaged\n")
    );
}

#[test]
fn without_the_token_nothing_changes_and_without_an_appliance_the_words_help() {
    let home = Home::new("");
    let serving = home.serve();
    let url = serving.admin_url();
    let (code, _, err) = home.run(&["purge", "--all", "--admin", &url]);
    assert_eq!(code, Some(1));
    assert!(err.contains("asks for the token"), "{err}");
    drop(serving);
    let (code, _, err) = home.run(&["ls", "--admin", &url]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("no appliance answers at") && err.contains("--config FILE"),
        "{err}"
    );
    let (code, _, err) = home.run(&["sl"]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn policies_are_shown_with_what_they_decide() {
    let home = Home::new(
        "[policy]\nDODownloadMode = 3\nDOMinRAMAllowedToPeer = 100000\nDOMaxUploadBandwidth = 10\n",
    );
    let config = home.config();
    let config = config.to_string_lossy();
    let (code, out, _) = home.run(&["policy", "show", "--json", "--config", &config]);
    assert_eq!(code, Some(0));
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    for role in ["serve", "get"] {
        assert_eq!(json[role]["Settings"]["DODownloadMode"], "3", "{out}");
        assert_eq!(
            json[role]["Settings"]["DOMaxUploadBandwidth"], "10 KB/s",
            "{out}"
        );
        let may = json[role]["Decisions"]["pieces from peers"]
            .as_str()
            .expect("words");
        assert!(
            may.contains("DOMinRAMAllowedToPeer asks for 100000.0 GB"),
            "{may}"
        );
    }
    assert_eq!(json["get"]["Settings"]["DOMaxCacheSize"], "20 %");
    assert_eq!(json["serve"]["Settings"]["DOMaxCacheSize"], "80 %");
    let (code, out, _) = home.run(&["policy", "show", "--config", &config]);
    assert_eq!(code, Some(0));
    assert!(out.contains("a preferred device: yes") && out.contains("a preferred device: no"));
}

#[test]
fn policies_of_windows_come_into_a_configuration() {
    let home = Home::new("[policy]\nDOCacheHost = \"old.example\" # kept\nDOMaxCacheAge = 7\n");
    let config = home.config();
    let before = std::fs::read_to_string(&config).expect("configuration");
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/clients/windows-policy.reg"
    );
    let (code, out, err) = home.run(&["policy", "import", shipped]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        out,
        "[policy]\nDOCacheHost = \"larder.example.org\"\nDOCacheHostSource = 0\nDODownloadMode = 2\n\
         DOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\n"
    );
    let path = config.to_string_lossy();
    let (code, _, err) = home.run(&["policy", "import", shipped, "--config", &path]);
    assert_eq!(code, Some(2), "only where it is asked for: {err}");
    assert_eq!(
        std::fs::read_to_string(&config).ok().as_ref(),
        Some(&before)
    );
    let (code, out, err) = home.run(&["policy", "import", shipped, "--config", &path, "--write"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("4 settings written\n"), "{out}");
    let after = std::fs::read_to_string(&config).expect("configuration");
    assert_eq!(
        after,
        before
            .replace("old.example", "larder.example.org")
            .replace("[policy]\n", "[policy]\nDOCacheHostSource = 0\nDODownloadMode = 2\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\n")
    );
    assert_eq!(home.run(&["check-config", &path]).0, Some(0));
    // A slip changes nothing, and says what was meant.
    let slip = config.with_file_name("slip.json");
    std::fs::write(&slip, "{\"DOMaxCacheAg\": 1, \"DOCacheHost\": \"x\"}").expect("written");
    let slip = slip.to_string_lossy();
    let (code, out, err) = home.run(&["policy", "import", &slip, "--config", &path, "--write"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.contains("DOMaxCacheAg (a key of the file) is not known; did you mean DOMaxCacheAge?"),
        "{err}"
    );
    assert_eq!(std::fs::read_to_string(&config).ok(), Some(after));
}
