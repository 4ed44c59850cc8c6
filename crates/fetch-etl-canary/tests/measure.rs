//! Figures for the crate's page; not a test.

use fetch_etl_canary::{Canaries, Hashes, Options, Place, Scanner};

fn memory(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(of)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Seconds of CPU of this thread: the machine may be busy with something else.
fn cpu() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    spent.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

#[test]
#[ignore = "prints figures; run it in release"]
fn measure() {
    let canaries = Canaries::new(1, 1_700);
    let before = memory("VmRSS");
    let started = cpu();
    let scanner = Scanner::new(&canaries, Options { hashes: Hashes::Unsalted });
    println!(
        "{} canaries, {} needles: built in {:.1} s of CPU; {} MiB at the peak",
        canaries.all().len(),
        scanner.needles(),
        (cpu() - started),
        memory("VmHWM") - before,
    );
    let mut rng = fastrand::Rng::with_seed(1);
    let random: Vec<u8> = (0..64 << 20).map(|_| rng.u8(..)).collect();
    let hex: Vec<u8> =
        random.iter().take(32 << 20).flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    let line = r#"{"timestamp":"2026-11-24T18:00:00.000000Z","level":"TRACE","event":"received","messages":10,"target":"fetch_etl_core::pipeline::receive"}"#;
    let log = format!("{line}\n").repeat((64 << 20) / line.len());
    let zeros = vec![0; 64 << 20];
    for (name, stream) in [
        ("random bytes", &random[..]),
        ("hex", &hex[..]),
        ("log lines", log.as_bytes()),
        ("zeros", &zeros[..]),
        ("zeros in hex", "0".repeat(64 << 20).as_bytes()),
    ] {
        let started = cpu();
        let findings = scanner.scan(&Place::nowhere(name), stream).unwrap();
        assert!(findings.is_clean());
        println!("{name}: {:.0} MB a second of CPU", stream.len() as f64 / 1e6 / (cpu() - started));
    }
}
