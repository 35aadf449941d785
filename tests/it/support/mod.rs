//! What several tests need.

pub(crate) mod app;
pub(crate) mod broker;
#[cfg(feature = "faults")]
pub(crate) mod day;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod elsewhere;
#[cfg(feature = "faults")]
pub(crate) mod faults;
pub(crate) mod installation;
pub(crate) mod ledger;
pub(crate) mod private_broker;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod story;
pub(crate) mod target;
pub(crate) mod topology;
pub(crate) mod virtual_clock;
pub(crate) mod witness;

/// Generates a test per engine from `async fn case(ledger: Ledger)` functions.
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::support::ledger::Ledger::sqlite().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::support::ledger::Ledger::postgres().await).await;
                }
            )*
        }
    };
}

pub(crate) use on_both_engines;
