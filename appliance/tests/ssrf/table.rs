//! The table of ways to name an origin. The rule: each stands for a reader that takes it for another host than larder
//! does, or for one that would.

use super::stand::{ALLOWED, INSIDE, MIXED, Trap};

/// How an authority may be answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verdict {
    /// 403.
    Forbidden,
    /// 403, or 400 since it is no URL.
    NoUrl,
    /// It is the allowed origin, in another spelling.
    Allowed,
}

pub(super) use Verdict::{Allowed, Forbidden, NoUrl};

fn add(table: &mut Vec<(String, Verdict)>, verdict: Verdict, all: &str) {
    table.extend(all.split_whitespace().map(|one| (one.to_owned(), verdict)));
}

/// The authorities, some for the ports of the traps.
pub(super) fn table(traps: &[Trap]) -> Vec<(String, Verdict)> {
    let mut table: Vec<(String, Verdict)> = Vec::new();
    // Addresses as they are written.
    add(
        &mut table,
        Forbidden,
        "127.0.0.1 127.0.0.1:80 127.0.0.1:8080 127.0.0.1. 127.8.8.8 127.255.255.254 10.0.0.1 10.0.0.1:80 \
         10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1.1:8080 169.254.169.254 \
         169.254.169.254:80 169.254.170.2 100.64.0.1 100.100.100.200 0.0.0.0 0.0.0.0:80 255.255.255.255 \
         224.0.0.1 240.0.0.1 192.0.0.192 198.18.0.1 8.8.8.8 8.8.8.8:80 1.1.1.1",
    );
    // Addresses as only some readers take them for ones.
    add(
        &mut table,
        Forbidden,
        "127.1 127.0.1 127.1. 2130706433 2130706433:80 2130706433. 0x7f000001 0X7F000001 0x7f000001. \
         0x7f.0.0.1 0x7f.1 0x7f.0x0.0x0.0x1 127.0.0.0x1 0177.0.0.1 0177.0.0.01 00000177.0.0.1 017700000001 \
         127.000.000.001 0127.0.0.1 127.0.0.01 2852039166 0xa9fea9fe 0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe \
         169.254.43518 167772161 0x0a000001 012.0.0.1 10.1 3232235777 0xc0a80101 192.168.257 0 0x0 00 0. 1 \
         256.256.256.256 127.0.0.1.0 4294967295 4294967296 134744072 0x08080808 010.010.010.010 evil.1 \
         evil.0x1 a.b.c.1",
    );
    // IPv6.
    add(
        &mut table,
        Forbidden,
        "[::1] [::1]:80 [::1]:8080 [0:0:0:0:0:0:0:1] [0000::0001] [::] [::]:80 [::127.0.0.1] \
         [::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::ffff:0:127.0.0.1] \
         [::ffff:10.0.0.1] [::ffff:169.254.169.254] [::ffff:8.8.8.8] [64:ff9b::7f00:1] [64:ff9b:1::1] \
         [2002:7f00:1::] [2001:db8::1] [2001::1] [fe80::1] [fec0::1] [fc00::1] [fd00:ec2::254] [ff02::1] \
         [100::1] [2606:4700::1111]",
    );
    add(
        &mut table,
        NoUrl,
        "[fe80::1%25eth0] [fe80::1%eth0] [::1%25lo] [::1%lo] ::1 ::1:80 [::1 ::1] [] []:80 [127.0.0.1] [::1]x \
         [::1]80 [files.example] [v1.x] [::g] [1::2::3] [::ffff:127.1] [::ffff:0x7f.0.0.1]",
    );
    // Names.
    add(
        &mut table,
        Forbidden,
        "localhost LOCALHOST localhost. localhost:80 localhost.localdomain ip6-localhost loopback \
         metadata.google.internal metadata evil.example evil.example:80 example evilfiles.example \
         xfiles.example files.example.evil.com files.example.evil.com. a.files.example files.exampl \
         files.examplex files-example inside.example xinside.example 127.0.0.1.nip.io localtest.me \
         xn--fles-7qa.example xn--localhost xn-- files.xn--example files_.example wpad",
    );
    add(
        &mut table,
        NoUrl,
        "files.example.. .files.example files..example . .. *.example * files.example%00 \
         files.example%00.evil.com files.example%2e files%2eexample %66iles.example files.example%23 \
         files.example%2f@127.0.0.1 files.example%40127.0.0.1 f%C4%B1les.example %EF%AC%81les.example \
         files%E3%80%82example 127%E3%80%820%E3%80%820%E3%80%821 %E2%91%A0%E2%91%A1%E2%91%A6.0.0.1 \
         127.0.0.1%00 127.0.0.1%0d%0a 127.0.0.1%09 f\u{131}les.example files\u{3002}example \
         \u{2460}\u{2461}\u{2466}.0.0.1 files.example\\ files.example\\@127.0.0.1 127.0.0.1\\@files.example \
         files.example;127.0.0.1 files.example,127.0.0.1 files.example|127.0.0.1 files.example^ \
         files.example\" <files.example> {files.example} files.example` $(files.example) files.example!",
    );
    table.extend(["fi les.example", "files.example\u{b}"].map(|one| (one.to_owned(), NoUrl)));
    // User information.
    add(
        &mut table,
        NoUrl,
        "user@files.example user:password@files.example files.example@127.0.0.1 files.example:80@127.0.0.1 \
         127.0.0.1@files.example @files.example :@files.example files.example@ a@b@files.example \
         files.example@evil.example files.example:files.example@evil.example:80 files.example@[::1] \
         user%40files.example@127.0.0.1",
    );
    // Ports.
    add(
        &mut table,
        Forbidden,
        "files.example:22 files.example:81 files.example:443 files.example:6379 files.example:8080 \
         files.example:65535 files.example.:81 loop.inside.example:81 FILES.EXAMPLE:8000",
    );
    add(
        &mut table,
        NoUrl,
        "files.example:0 files.example:65536 files.example:65616 files.example:99999 files.example:-80 \
         files.example:+80 files.example:80:80 files.example:0x50 files.example:80a files.example:000080 \
         files.example:4294967376 files.example:%38%30 files.example:\u{ff18}\u{ff10} :80 : 80:files.example",
    );
    table.extend(["files.example:8 0"].map(|one| (one.to_owned(), NoUrl)));
    add(
        &mut table,
        Allowed,
        "files.example FILES.example files.example. files.example:80 files.example: files.example.:80 \
         files.example:080",
    );
    table.push((MIXED.to_owned(), Allowed));
    table.extend(
        INSIDE
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Forbidden)),
    );
    add(
        &mut table,
        Forbidden,
        "Loop.Inside.Example loop.inside.example. six.inside.example:80 unknown.inside.example",
    );
    for trap in traps {
        let (ip, port) = (trap.address.ip(), trap.address.port());
        if ip.is_ipv4() {
            for host in [
                "127.0.0.1",
                "127.1",
                "2130706433",
                "0x7f.1",
                "localhost",
                "loop.inside.example",
                ALLOWED,
            ] {
                table.push((format!("{host}:{port}"), Forbidden));
            }
            table.push((format!("[::ffff:127.0.0.1]:{port}"), Forbidden));
        } else {
            table.push((format!("[::1]:{port}"), Forbidden));
        }
    }
    table
}

/// Targets that are no path and name no origin as they should.
pub(super) const ODD_TARGETS: [&str; 22] = [
    "ftp://files.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:11211/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "http:///127.0.0.1/",
    "http://",
    "http:///",
    "https://",
    "ws://files.example/",
    "jar:http://127.0.0.1!/",
    "//",
    "*",
    "files.example:80",
    "127.0.0.1",
    "http://files.example#@127.0.0.1/",
    "http://127.0.0.1#files.example",
    "\\\\127.0.0.1\\x",
    "hTTp://127.0.0.1/",
];
