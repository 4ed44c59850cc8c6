//! Trees of files.

use std::fs;

use fetch_etl_canary::{Canaries, Field, Options, Place, Scanner};

#[test]
fn every_file_of_a_tree_is_scanned_and_links_lead_in_no_circle() {
    let canaries = Canaries::new(1, 30);
    let scanner = Scanner::new(&canaries, Options::default());
    let address = canaries.all().iter().find(|canary| canary.field() == Field::Ip).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.join("base/1")).unwrap();
    fs::write(root.join("base/1/16384"), format!("row {}", address.value())).unwrap();
    fs::write(root.join("PG_VERSION"), "15").unwrap();
    fs::write(elsewhere.path().join("000000010000000000000001"), address.value()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("pg_wal")).unwrap();
    std::os::unix::fs::symlink(root, root.join("base/circle")).unwrap();
    std::os::unix::fs::symlink(root.join("gone"), root.join("base/dangling")).unwrap();

    let scan = scanner.scan_directory(&Place::with_rows("data"), root).unwrap();
    assert_eq!((scan.files, scan.vanished, scan.unreadable.len()), (3, 1, 0));
    let places: Vec<_> = scan.findings.first.iter().map(|finding| finding.place.as_str()).collect();
    assert_eq!(places, ["data: base/1/16384", "data: pg_wal/000000010000000000000001"]);
    assert!(scanner.scan_directory(&Place::with_rows("data"), &root.join("gone")).is_err());
}
