//! On what the figures were measured.

use std::fs;
use std::process::Command;

use crate::report::Conditions;

/// The profile that this program was built with, by the name of cargo's directory for it; wherever the program is now.
const PROFILE: &str = env!("FETCH_ETL_BENCH_PROFILE");

/// This machine, this commit.
pub(crate) fn conditions(scale: &str, command: &str, postgres: String) -> Conditions {
    Conditions {
        commit: commit(),
        profile: PROFILE.to_owned(),
        scale: scale.to_owned(),
        command: command.to_owned(),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        cpu: cpu().unwrap_or_else(|| "unknown CPU".to_owned()),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        memory_bytes: memory().unwrap_or_default(),
        kernel: line_of("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        postgres,
        load_before: load_average().unwrap_or_default(),
    }
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]).output().ok();
    let commit = output.filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn load_average() -> Option<f64> {
    line_of("/proc/loadavg")?.split_whitespace().next()?.parse().ok()
}

fn line_of(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_one_that_this_was_built_with() {
        let program = std::env::current_exe().unwrap();
        assert!(program.components().any(|part| part.as_os_str() == PROFILE), "{PROFILE}");
    }
}
