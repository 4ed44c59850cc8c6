use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The path of one of this workspace's binaries, of the profile that the caller was built with. Where it is missing, cargo
/// builds it: `cargo test -p etl-worker` builds no other package's binaries.
pub fn binary(package: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = output_directory();
    let path = directory.join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        build(package, &directory);
    }
    assert!(path.exists(), "cargo built {package}, but not to {}", path.display());
    path
}

/// The path of one of this workspace's binaries beside this program, for a program that builds nothing.
///
/// # Errors
/// It is not there; the message says where it should be.
pub fn beside(package: &str) -> Result<PathBuf, String> {
    let directory = output_directory();
    let path = directory.join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    if path.exists() { Ok(path) } else { Err(format!("there is no {package} in {}", directory.display())) }
}

/// `target/<profile>`, seen from a test (`deps/…`), an example or a binary in it.
fn output_directory() -> PathBuf {
    let mut directory = std::env::current_exe().expect("a process knows its own path");
    directory.pop();
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.pop();
    }
    directory
}

fn build(package: &str, directory: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package]);
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => drop(cargo.args(["--profile", profile])),
    }
    if let Some(target) = directory.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "cargo cannot build {package}");
}
