//! What `/proc` says of processes and of the machine.
//!
//! The CPU time of a process is that of the process itself and of those children that have ended and were waited for; a tree's is
//! the sum over those that live. So nothing is lost when a child ends, such as a backend of Postgres.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// All processes, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes(BTreeMap<u32, Process>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    has_ended: bool,
    /// User and system, its own and of the children that it waited for.
    ticks: u64,
}

impl Processes {
    /// Looks at all of them.
    pub(crate) fn now() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // One that ends between the two looks is one that is not there.
        Self(ids.filter_map(|id: u32| Some((id, process(id)?))).collect())
    }

    /// What a process and all its descendants took so far.
    pub(crate) fn cpu_of_tree(&self, root: u32) -> Duration {
        let ticks = self.tree(root).into_iter().filter_map(|id| self.0.get(&id)).map(|p| p.ticks).sum();
        duration_of(ticks)
    }

    /// A process and all its descendants that live.
    pub(crate) fn tree(&self, root: u32) -> Vec<u32> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            let children = self.0.iter().filter(|(_, process)| process.parent == parent).map(|(id, _)| *id);
            // Process 0 is nobody's child and its own parent where it shows at all.
            let new: Vec<_> = children.filter(|id| !tree.contains(id)).collect();
            tree.extend(new);
            next += 1;
        }
        tree
    }

    /// Its parent.
    pub(crate) fn parent_of(&self, id: u32) -> Option<u32> {
        self.0.get(&id).map(|process| process.parent)
    }
}

fn process(id: u32) -> Option<Process> {
    parse_process(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// A line of `/proc/PID/stat`. The name, in parentheses, may hold anything, parentheses and spaces too.
fn parse_process(line: &str) -> Option<Process> {
    let (_, behind_name) = line.rsplit_once(')')?;
    let fields: Vec<_> = behind_name.split_whitespace().collect();
    // The state is field 3 of proc(5), so a field n of that page is at n − 3: utime, stime, cutime, cstime are 14 to 17.
    let ticks: Option<Vec<u64>> = fields.get(11..15)?.iter().map(|field| field.parse().ok()).collect();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        has_ended: matches!(*fields.first()?, "Z" | "X"),
        ticks: ticks?.iter().sum(),
    })
}

/// Whether it runs: one that has ended and was not waited for does not.
pub(crate) fn is_alive(id: u32) -> bool {
    process(id).is_some_and(|process| !process.has_ended)
}

/// What this process took so far, without its children.
pub(crate) fn own_cpu() -> Duration {
    fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|line| parse_process(&line))
        .map_or(Duration::ZERO, |p| duration_of(p.ticks))
}

/// Its name, cut to 15 characters by the kernel.
pub(crate) fn name_of(id: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{id}/comm")).ok()?.trim_end().to_owned())
}

/// The most memory that a process has had at once so far, in bytes; `None` once it has ended.
pub(crate) fn peak_memory(id: u32) -> Option<u64> {
    parse_memory(&fs::read_to_string(format!("/proc/{id}/status")).ok()?, "VmHWM:")
}

/// The memory that a process has now, in bytes; `None` once it has ended.
pub(crate) fn memory(id: u32) -> Option<u64> {
    parse_memory(&fs::read_to_string(format!("/proc/{id}/status")).ok()?, "VmRSS:")
}

fn parse_memory(status: &str, which: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What all cores together did since the machine was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MachineCpu {
    /// Somebody on this machine ran.
    pub(crate) busy: Duration,
    /// Somebody on another virtual machine ran in our place.
    pub(crate) stolen: Duration,
}

impl MachineCpu {
    /// Looks at it; nothing where the system does not say.
    pub(crate) fn now() -> Self {
        fs::read_to_string("/proc/stat").ok().and_then(|text| parse_machine(&text)).unwrap_or_default()
    }
}

fn parse_machine(text: &str) -> Option<MachineCpu> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let [user, nice, system, _, _, irq, softirq, stolen] = *ticks.get(..8)? else { return None };
    Some(MachineCpu { busy: duration_of(user + nice + system + irq + softirq), stolen: duration_of(stolen) })
}

fn duration_of(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(processes: &[(u32, u32, u64)]) -> Processes {
        let process = |&(id, parent, ticks)| (id, Process { parent, has_ended: false, ticks });
        Processes(processes.iter().map(process).collect())
    }

    #[test]
    fn a_name_may_hold_anything() {
        let line = "4711 (a) (b 7) R 12 4711 4711 0 -1 4194560 9 8 7 6 100 20 3 4 20 0 1 0 99 123 45 18446744073709551615";
        assert_eq!(parse_process(line), Some(Process { parent: 12, has_ended: false, ticks: 127 }));
        assert!(parse_process(&line.replace(") R", ") Z")).is_some_and(|process| process.has_ended));
        assert_eq!(parse_process("4711 (x) R 12"), None);
        assert_eq!(parse_process(""), None);
    }

    #[test]
    fn a_tree_is_a_process_and_all_below_it() {
        let processes = of(&[(1, 0, 1), (10, 1, 10), (11, 10, 100), (12, 11, 1_000), (20, 1, 10_000)]);
        assert_eq!(processes.tree(10), [10, 11, 12]);
        assert_eq!(processes.cpu_of_tree(10), duration_of(1_110));
        assert_eq!(processes.cpu_of_tree(99), Duration::ZERO);
        assert_eq!(processes.parent_of(12), Some(11));
    }

    #[test]
    fn memory_is_in_kib() {
        let status = "Name:\tx\nVmHWM:\t   12 kB\nVmRSS:\t 5 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(12 * 1024));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(5 * 1024));
        assert_eq!(parse_memory("Name:\tx\nState:\tZ (zombie)\n", "VmRSS:"), None);
    }

    #[test]
    fn the_machines_line_is_the_sum_over_its_cores() {
        let text = "cpu  100 20 30 5000 60 7 8 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let expected = MachineCpu { busy: duration_of(165), stolen: duration_of(9) };
        assert_eq!(parse_machine(text), Some(expected));
        assert_eq!(parse_machine("cpu  1 2 3\n"), None);
    }

    #[test]
    fn this_process_is_found_with_its_own_cpu() {
        let id = std::process::id();
        assert!(is_alive(id));
        // In this order: it may grow between two looks.
        let now = memory(id);
        assert!(now > Some(0) && peak_memory(id) >= now);
        let processes = Processes::now();
        assert!(processes.parent_of(id).is_some());
        assert!(processes.cpu_of_tree(id) <= Processes::now().cpu_of_tree(id));
        assert!(MachineCpu::now().busy > Duration::ZERO);
    }
}
