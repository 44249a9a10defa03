//! Limits that change while the store is open.

use super::*;

#[test]
fn another_limit_holds_while_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let fill = |from: u8| {
        for number in from..from + 16 {
            fetch_object(&store, number, 3 << 20);
        }
        store.flush();
        store.figures()
    };
    let until = |what: &str, holds: &dyn Fn(&Figures) -> bool| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !holds(&store.figures()) {
            assert!(
                std::time::Instant::now() < end,
                "{what}: {:?}",
                store.figures()
            );
            // Its thread has been round once more.
            store.flush();
        }
    };
    store.pin(&Filter::Url(url(0)), true);
    let wide = fill(0);
    assert!(wide.bytes > 40 << 20, "{wide:?}");
    assert_eq!(wide.evictions_total, 0);
    store.limit_to(SizeLimit::bytes(20 << 20));
    until("less is left", &|figures| figures.bytes <= 20 << 20);
    let there: u32 = (0..16).map(|number| check_object(&store, number)).sum();
    assert!(there < 48 && store.figures().evictions_total > 0);
    assert!(fill(16).bytes <= 20 << 20, "nor is it passed later");
    store.limit_to(SizeLimit::bytes(60 << 20));
    until("the limit is seen", &|figures| {
        figures.capacity_bytes == 60 << 20
    });
    let wide = fill(32);
    assert!(wide.bytes > 40 << 20, "{wide:?}");
}
