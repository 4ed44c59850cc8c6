//! Writes the seeds to `corpus/TARGET/`, where `cargo fuzz` looks for them.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (number, seed) in fetch_etl_fuzz::seeds::all().into_iter().enumerate() {
        let directory = corpus.join(seed.target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{number:03}")), seed.data)?;
    }
    Ok(())
}
