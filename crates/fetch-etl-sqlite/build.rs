//! Cargo does not see by itself that `sqlx::migrate!` would find a new file.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
