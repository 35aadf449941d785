//! What the auditor found.

use crate::support::report::Report;

/// An invariant, as RELIABILITY numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Invariant {
    /// Nothing accepted is lost.
    Lost,
    /// One retry, one run.
    SecondRun,
    /// No recorded success runs again.
    RepeatedSuccess,
    /// A call is repeated only if it was in flight when something happened to its caller.
    RepeatedCall,
    /// One live retry of a chain.
    TwoLive,
    /// Nobody writes without the lease.
    Zombie,
    /// Nothing crosses organisations.
    Neighbour,
    /// Nothing grows.
    Growth,
    /// Only allowed transitions.
    Transition,
    /// No secret leaves.
    Secret,
}

/// What was done twice, and why that was right.
#[derive(Debug, Default, Clone)]
pub(in crate::pool) struct Repeated {
    /// Calls that were in flight at a fault and made again under their key.
    pub(in crate::pool) calls: usize,
    /// Calls on their way when their process was made to stand still, and that went on when it did.
    pub(in crate::pool) thawed: usize,
    pub(in crate::pool) claims: usize,
    pub(in crate::pool) most_sends: usize,
}

/// Everything that does not hold, and what was done twice.
#[derive(Debug, Default)]
pub(in crate::pool) struct Verdict {
    pub(in crate::pool) repeated: Repeated,
    broken: Vec<(Invariant, String)>,
}

impl Verdict {
    /// Something does not hold.
    pub(in crate::pool) fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        self.broken.push((invariant, what.into()));
    }

    /// Takes it down unless it holds.
    pub(in crate::pool) fn require(
        &mut self,
        holds: bool,
        invariant: Invariant,
        what: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(invariant, what());
        }
    }

    pub(in crate::pool) fn count(&self, invariant: Invariant) -> usize {
        let broken = self.broken.iter();
        broken.filter(|(found, _)| *found == invariant).count()
    }

    pub(in crate::pool) fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// Reports what was found.
    pub(in crate::pool) fn report(&self, mut report: Report) {
        let columns = [
            ("lost", Invariant::Lost),
            ("secondRuns", Invariant::SecondRun),
            ("repeatedSuccesses", Invariant::RepeatedSuccess),
            ("repeatedNotInFlight", Invariant::RepeatedCall),
            ("zombieWrites", Invariant::Zombie),
        ];
        for (name, invariant) in columns {
            report.fact(name, self.count(invariant));
        }
        report.fact("repeatedInFlight", self.repeated.calls);
        report.fact("thawed", self.repeated.thawed);
        report.file(self.holds());
    }

    /// Panics with what does not hold, the first twenty of it.
    pub(in crate::pool) fn assert_holds(&self) {
        let shown: Vec<_> = self.broken.iter().take(20).collect();
        let all = self.broken.len();
        assert!(self.holds(), "{all} findings: {shown:#?}");
    }
}
