//! What keeps personal data in this process's memory from being written to disk when it crashes.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches core dumps off, and lets no other process of the same user read this one's memory.
/// Returns what the system refused: the worker runs all the same, and says so.
pub fn forbid_core_dumps() -> Vec<&'static str> {
    let mut failed = Vec::new();
    if setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).is_err() {
        failed.push("RLIMIT_CORE");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
            failed.push("PR_SET_DUMPABLE");
        }
    }
    failed
}
