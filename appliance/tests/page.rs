//! The page at the admin address, in a real browser. The rule: what it shows is what a client has just done, and what it
//! changes is seen to be changed by the program itself.

mod rig;

use rig::browser::Browser;
use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, PLAIN};
use rig::{eventually, have, house, nginx, tell};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// What runs if a name is ever taken for more than text.
const HOSTILE: &str = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>";

/// What [`HOSTILE`] is called where it names an object.
const HOSTILE_PATH: &str =
    "/%3Cscript%3Ewindow.hacked=1%3C/script%3E%3Cimg%20src=x%20onerror=window.hacked=1%3E.cab";

fn stage() -> Option<(nginx::Nginx, Larder, Browser)> {
    if !have(&["nginx", "chromium", "chromedriver"]) {
        return None;
    }
    let (nginx, larder) = house();
    let bytes = rig::real_bytes(2 * MIB);
    nginx.put("/real.cab", &bytes);
    nginx.put("/%3Cscript%3Ewindow.hacked=1%3C/script%3E.cab", b"x");
    for _ in 0..2 {
        let answer = larder.get(PLAIN, "/real.cab").run().expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.head);
    }
    let named = nginx.put_named(&bytes);
    let answer = larder.get(FAMILY[0], &named).run().expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let std::net::IpAddr::V4(admin) = larder.admin().ip() else {
        return None;
    };
    Some((nginx, larder, Browser::start(admin)))
}

/// Opens the page, and waits until it has shown something.
fn show(browser: &Browser, larder: &Larder) {
    browser.open(&format!("http://{}/", larder.admin()));
    eventually("the page shows what it has asked for", || {
        let shown = browser.run("return document.body.dataset.shown || ''");
        (shown == "yes").then_some(())
    });
}

fn objects(larder: &Larder) -> String {
    let answer = Get::new(larder.admin(), "/api/v1/objects")
        .run()
        .expect("an answer");
    String::from_utf8(answer.body).expect("text")
}

#[test]
fn it_shows_what_is_there_and_asks_nobody_else() {
    let Some((nginx, larder, browser)) = stage() else {
        return;
    };
    nginx.put(
        "/<script>window.hacked=1</script><img src=x onerror=window.hacked=1>.cab",
        b"content",
    );
    let answer = larder.get(PLAIN, HOSTILE_PATH).run().expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let refused = larder
        .get("nowhere.example", "/x")
        .run()
        .expect("an answer");
    assert_eq!(refused.status, 403);
    show(&browser, &larder);
    assert!(browser.text("#hits").contains('%'));
    assert_eq!(browser.text("#health"), "Ready");
    for (place, expected) in [
        ("#clients", "127.0.0.1"),
        ("#skipping", "nowhere.example"),
        ("#refused", "nowhere.example"),
        ("#unknown", "unknown"),
        ("#found", "/real.cab"),
        ("#found", "%3Cscript%3E"),
        ("#disks", "store"),
        ("#peer-figures", "Download mode"),
        ("#policies", "None: all have their defaults."),
        ("#sources", "To clients, from memory"),
    ] {
        let text = browser.text(place);
        assert!(text.contains(expected), "no {expected} in {place}: {text}");
    }
    // The same names, as a program of the page's own would show them.
    let script = format!(
        "rows('refused', [], [[{HOSTILE:?}, url({HOSTILE:?})]], ''); put('s-what', {HOSTILE:?}); say({HOSTILE:?}); \
         return document.querySelector('#refused td').innerText"
    );
    assert_eq!(browser.run(&script), HOSTILE);
    assert_eq!(
        browser.run("return document.querySelectorAll('main script, main img, dialog img').length"),
        0
    );
    assert_eq!(browser.run("return window.hacked ?? null"), Value::Null);
    // A browser that was made to take text for elements refuses to.
    let script = format!(
        "try {{ document.body.innerHTML = {HOSTILE:?}; return 'done' }} catch {{ return 'refused' }}"
    );
    let before = browser.console();
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(browser.run(&script), "refused");
    let ours = format!("http://{}/", larder.admin());
    let asked = browser.asked_for();
    let elsewhere = |url: &&String| url.starts_with("http") && !url.starts_with(&ours);
    assert!(asked.len() >= 6, "{asked:?}");
    assert_eq!(asked.iter().find(elsewhere), None);
    let paint = browser.run("return performance.getEntriesByType('paint')[0].startTime");
    let bytes = browser.run(
        "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))\
         .reduce((sum, one) => sum + one.transferSize, 0)",
    );
    tell(&format!(
        "page: first paint after {paint} ms, {bytes} bytes in {} requests",
        asked.iter().filter(|url| url.starts_with(&ours)).count()
    ));
}

#[test]
fn a_name_that_leads_here_by_another_way_gets_nothing() {
    let Some((_nginx, larder, browser)) = stage() else {
        return;
    };
    browser.open(&format!("http://evil.example:{}/", larder.admin().port()));
    let text = browser.text("body");
    assert!(text.contains("is no name of this machine"), "{text}");
}

#[test]
fn nothing_is_purged_without_the_token() {
    let Some((_nginx, larder, browser)) = stage() else {
        return;
    };
    show(&browser, &larder);
    let url = format!("http://{PLAIN}/real.cab");
    let purge = format!("button[aria-label='Purge {url}']");
    let said = |wanted: &str| {
        eventually(wanted, || {
            browser.text("#said").contains(wanted).then_some(())
        });
    };
    // Kept, when asked whether that is meant.
    browser.click(&purge);
    browser.click("#s-cancel");
    assert!(objects(&larder).contains(&url));
    // Meant, and no token given.
    browser.click(&purge);
    browser.click("#sure button.ends");
    browser.click("#t-cancel");
    said("Nothing was changed");
    assert!(objects(&larder).contains(&url));
    // A wrong one.
    browser.click(&purge);
    browser.click("#sure button.ends");
    browser.write("#token", &"0".repeat(64));
    browser.click("#ask-token button.main");
    said("this is not the token");
    assert!(objects(&larder).contains(&url));
    // The right one.
    let store = larder.directory().join("store/admin.token");
    let token = std::fs::read_to_string(store).expect("the token");
    browser.click(&purge);
    browser.click("#sure button.ends");
    browser.write("#token", token.trim());
    browser.click("#ask-token button.main");
    said("Purged 1 object");
    assert!(!objects(&larder).contains(&url));
    assert!(!browser.text("#found").contains(&url));
    // And fetched again, by the page itself.
    browser.write("#warm-url", &url);
    browser.click("#warm button");
    said("is stored");
    assert!(objects(&larder).contains(&url));
    let pin = format!("button[aria-label='Pin {url}']");
    browser.click(&pin);
    said("Pinned");
    browser.click(&format!("button[aria-label='Verify {url}']"));
    said("are what was stored");
    let kept =
        browser.run("return localStorage.length + sessionStorage.length + document.cookie.length");
    assert_eq!(kept, 0, "the token is kept nowhere");
}

/// Whatever can not be told from what is around it, has no name, or no caption.
const FAULTS: &str = r##"
const faults = [];
const rgb = (text) => { const m = text.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (of) => { for (let at = of; at; at = at.parentElement) { const c = rgb(getComputedStyle(at).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
let texts = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const of = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(of.tagName) || !of.checkVisibility()) continue;
  texts += 1;
  const [a, b] = [light(rgb(getComputedStyle(of).color)), light(ground(of))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) faults.push("contrast " + contrast.toFixed(2) + ": " + walker.currentNode.data.trim().slice(0, 60));
}
if (texts < 40) faults.push("only " + texts + " texts");
for (const one of document.querySelectorAll("button, input, a")) {
  const name = one.getAttribute("aria-label") || (one.labels && [...one.labels].map((l) => l.textContent).join("")) || one.textContent;
  if (!name.trim()) faults.push("no name: " + one.outerHTML);
}
for (const one of document.querySelectorAll("table")) {
  if (!one.caption || !one.caption.textContent.trim()) faults.push("no caption: " + one.id);
  for (const th of one.querySelectorAll("th")) if (!th.scope) faults.push("no scope: " + th.textContent);
}
for (const one of document.querySelectorAll("section, dialog")) {
  const by = document.getElementById(one.getAttribute("aria-labelledby"));
  if (!by || !by.textContent.trim()) faults.push("no name: " + one.id);
}
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
for (const a of document.querySelectorAll("a[href^='#']")) if (!document.querySelector(a.getAttribute("href"))) faults.push("leads nowhere: " + a.href);
for (const landmark of ["header", "nav", "main", "footer", "h1", "html[lang]", "title"]) {
  if (document.querySelectorAll(landmark).length !== 1) faults.push("not one " + landmark);
}
if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the screen: " + document.documentElement.scrollWidth);
for (const one of document.querySelectorAll("button, input")) {
  const box = one.getBoundingClientRect();
  if (one.checkVisibility() && (box.width < 24 || box.height < 24)) faults.push("too small to hit: " + one.outerHTML);
}
return faults;
"##;

#[test]
fn everybody_can_use_it() {
    let Some((_nginx, larder, browser)) = stage() else {
        return;
    };
    for (width, dark) in [(1200, false), (1200, true), (390, false), (390, true)] {
        browser.looks(width, dark);
        show(&browser, &larder);
        let faults = browser.run(FAULTS);
        assert_eq!(
            faults,
            serde_json::json!([]),
            "{width} pixels, dark: {dark}"
        );
    }
    // By the Tab key alone everything is reached, in the order in which it stands there, and is seen to be.
    browser.looks(1200, false);
    show(&browser, &larder);
    let wanted = browser.run(
        "window.all = [...document.querySelectorAll('a, button, input')].filter((one) => one.checkVisibility() && !one.closest('dialog')); \
         document.getElementById('pause').click(); document.activeElement.blur(); return window.all.length",
    );
    let wanted = wanted.as_u64().expect("a number");
    assert!(wanted > 15, "{wanted}");
    for at in 0..wanted {
        let seen = browser.tab(
            "const one = document.activeElement; return [window.all.indexOf(one), getComputedStyle(one).outlineStyle]",
        );
        assert_eq!(seen, serde_json::json!([at, "solid"]));
    }
}
