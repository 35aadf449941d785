//! What processes of this machine use: core time and memory, with their children, from `/proc`.

use std::{
    collections::HashMap,
    fs,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A process to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) pid: u32,
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, pid) = text.split_once('=').ok_or("it must be NAME=PID")?;
        let pid = pid.parse().map_err(|_| "PID must be a number")?;
        Ok(Self {
            name: name.to_owned(),
            pid,
        })
    }
}

/// What one process used.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) name: String,
    /// Core time, in milliseconds.
    pub(super) core_ms: f64,
    /// The most memory that was resident at once, in KiB; what processes share counts for each.
    pub(super) peak_kib: u64,
}

/// Processes that are watched.
pub(super) struct Watch {
    watched: Vec<(Named, f64, Arc<AtomicU64>)>,
    looking: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(processes: &[Named]) -> Self {
        let tree = Tree::read();
        let watched: Vec<_> = processes
            .iter()
            .map(|named| (named.clone(), tree.core_ms(named.pid), Arc::default()))
            .collect();
        let peaks: Vec<(u32, Arc<AtomicU64>)> = watched
            .iter()
            .map(|(named, _, peak)| (named.pid, Arc::clone(peak)))
            .collect();
        let looking = tokio::spawn(async move {
            loop {
                let tree = Tree::read();
                for (pid, peak) in &peaks {
                    peak.fetch_max(tree.resident_kib(*pid), Ordering::Relaxed);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { watched, looking }
    }

    /// What each has used since the start.
    pub(super) fn stop(self) -> Vec<Usage> {
        self.looking.abort();
        let tree = Tree::read();
        let usage = |(named, before, peak): (Named, f64, Arc<AtomicU64>)| Usage {
            core_ms: tree.core_ms(named.pid) - before,
            peak_kib: peak
                .load(Ordering::Relaxed)
                .max(tree.resident_kib(named.pid)),
            name: named.name,
        };
        self.watched.into_iter().map(usage).collect()
    }
}

/// Every process at one moment.
struct Tree {
    processes: HashMap<u32, Process>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    parent: u32,
    /// Its own time and that of children that are gone.
    core_ms: f64,
    resident_kib: u64,
}

impl Tree {
    fn read() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let processes = pids.filter_map(|pid: u32| {
            // One may end while it is looked at.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, process(&stat)?))
        });
        Self {
            processes: processes.collect(),
        }
    }

    /// A process and everything below it.
    fn below(&self, pid: u32) -> Vec<Process> {
        let is_below = |mut at: u32| {
            while at != pid {
                match self.processes.get(&at) {
                    Some(process) if process.parent != 0 => at = process.parent,
                    _ => return false,
                }
            }
            true
        };
        let below = self.processes.iter().filter(|(at, _)| is_below(**at));
        below.map(|(_, process)| *process).collect()
    }

    fn core_ms(&self, pid: u32) -> f64 {
        self.below(pid).iter().map(|process| process.core_ms).sum()
    }

    fn resident_kib(&self, pid: u32) -> u64 {
        let below = self.below(pid);
        below.iter().map(|process| process.resident_kib).sum()
    }
}

/// Reads a line of `/proc/PID/stat`: see `proc(5)`. A tick is 10 ms, a page 4 KiB on Linux as it is
/// built for x86-64 and most of arm64.
fn process(stat: &str) -> Option<Process> {
    // The name may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Process {
        parent: number(4)?,
        core_ms: f64::from(ticks) * 10.0,
        resident_kib: u64::from(number(24)?) * 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name_of_the_process() {
        let line =
            "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 100 20 30 4 20 0 5 0 99 1000 25 18446";
        let expected = Process {
            parent: 3,
            core_ms: 1540.0,
            resident_kib: 100,
        };
        assert_eq!(process(line), Some(expected));
        assert_eq!(process("7 (a"), None);
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let tree = Tree::read();
        assert!(tree.resident_kib(std::process::id()) > 0);
        assert_eq!(tree.resident_kib(u32::MAX), 0);
    }

    #[test]
    fn a_process_is_named() {
        let named = Named {
            name: "worker".to_owned(),
            pid: 12,
        };
        assert_eq!("worker=12".parse(), Ok(named));
        assert!("worker".parse::<Named>().is_err() && "a=b".parse::<Named>().is_err());
    }
}
