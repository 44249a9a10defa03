//! Tests of import and export on real files, by both means. The rule: what comes out is what went in, or an error
//! says why not and leaves nothing behind.

use super::*;
use std::io::Write;
use std::time::SystemTime;

/// Io_uring where the machine has it, and plain calls always.
fn all_means() -> Vec<Means> {
    let plain = Means::Plain {
        why: "a test".to_owned(),
    };
    match means() {
        Means::Ring => vec![Means::Ring, plain],
        Means::Plain { .. } => vec![plain],
    }
}

fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_goes_in_and_comes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for means in all_means() {
        for len in [0, 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 4097] {
            let whole = bytes(len);
            fs::write(&from, &whole).unwrap();
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            let imported = import_by(&means, &from, |piece, bytes| {
                assert_eq!(piece as usize, pieces.len());
                pieces.push(bytes.to_vec());
                Ok(())
            })
            .unwrap();
            assert_eq!(imported.bytes, len as u64, "{means:?}");
            assert_eq!(imported.sha256, <[u8; 32]>::from(Sha256::digest(&whole)));
            assert!(
                pieces
                    .iter()
                    .rev()
                    .skip(1)
                    .all(|piece| piece.len() == 1 << 20)
            );
            assert!(pieces.concat() == whole, "{means:?}, {len} bytes");
            let read = |piece: u32| pieces.get(piece as usize).cloned();
            export_by(&means, &to, len as u64, read).unwrap();
            assert!(fs::read(&to).unwrap() == whole, "{means:?}, {len} bytes");
            assert_eq!(names(folder.path()), ["from", "to"]);
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let changes: [fn(&Path); 4] = [
        |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(1 << 20)
                .unwrap()
        },
        |path| {
            File::options()
                .append(true)
                .open(path)
                .unwrap()
                .write_all(b"x")
                .unwrap()
        },
        |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .write_all(b"x")
                .unwrap()
        },
        |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(0)
                .unwrap()
        },
    ];
    for means in all_means() {
        for (at, change) in changes.into_iter().enumerate() {
            fs::write(&path, bytes((2 << 20) + 5)).unwrap();
            // Written long ago: an old kernel's times are too coarse to tell two writes in a row apart.
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            let result = import_by(&means, &path, |piece, _| {
                if piece == 0 {
                    change(&path);
                }
                Ok(())
            });
            assert!(
                matches!(result, Err(TransferError::Changed { .. })),
                "{means:?}, change {at}: {result:?}"
            );
        }
    }
}

#[test]
fn what_is_no_file_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    for means in all_means() {
        let refused = |path: &Path| import_by(&means, path, |_, _| Ok(())).unwrap_err();
        let error = refused(&folder.path().join("missing"));
        assert!(matches!(error, TransferError::Open { .. }), "{error}");
        assert!(error.to_string().contains("missing"), "{error}");
        for path in [folder.path(), Path::new("/dev/null")] {
            let error = refused(path);
            assert!(matches!(error, TransferError::NotAFile { .. }), "{error}");
        }
    }
}

#[test]
fn who_takes_the_pieces_can_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes(3 << 20)).unwrap();
    for means in all_means() {
        let mut given = 0;
        let result = import_by(&means, &path, |piece, _| {
            given += 1;
            if piece < 1 {
                return Ok(());
            }
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(
            matches!(result, Err(TransferError::Refused { piece: 1, .. })),
            "{result:?}"
        );
        assert_eq!(given, 2);
    }
}

#[test]
fn an_export_that_fails_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("to");
    fs::write(&path, b"old").unwrap();
    for means in all_means() {
        for wrong in [None, Some(Vec::new()), Some(vec![0; 5])] {
            let read = |piece| {
                if piece == 0 {
                    Some(bytes(1 << 20))
                } else {
                    wrong.clone()
                }
            };
            let result = export_by(&means, &path, (1 << 20) + 4, read);
            assert!(
                matches!(result, Err(TransferError::Missing { piece: 1 })),
                "{means:?}: {result:?}"
            );
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(folder.path()), ["to"]);
        }
        let below_a_file = path.join("below");
        let in_nothing = folder.path().join("missing").join("to");
        for path in [folder.path(), &below_a_file, &in_nothing, Path::new("/")] {
            let result = export_by(&means, path, 1, |_| Some(vec![7]));
            assert!(
                matches!(result, Err(TransferError::Write { .. })),
                "{result:?}"
            );
        }
        assert_eq!(names(folder.path()), ["to"]);
    }
}

/// More than any disk has: it is known before the first piece is asked for, where it can be asked.
#[test]
fn no_room_is_said_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("to");
    if all_means().contains(&Means::Ring) {
        let result = export_by(&Means::Ring, &path, 1 << 50, |piece| {
            panic!("piece {piece} was asked for")
        });
        assert!(
            matches!(result, Err(TransferError::NoRoom { .. })),
            "{result:?}"
        );
    }
    assert!(names(folder.path()).is_empty());
}

/// The public face, from inside a runtime's thread as well.
#[test]
fn it_runs_where_a_ring_of_another_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let work = || {
        export(&path, 3, |_| Some(b"abc".to_vec())).unwrap();
        import(&path, |_, bytes| {
            assert_eq!(bytes, b"abc");
            Ok(())
        })
        .unwrap()
        .bytes
    };
    assert_eq!(work(), 3);
    if *means() == Means::Ring {
        assert_eq!(tokio_uring::start(async { work() }), 3);
    }
}
