//! One suite for both brokers: what `crate::broker` says of its methods, case by case. Where they
//! promise different things, the case says which.

mod bench;
mod content;
mod lanes;
mod settling;
mod waiting;

use bench::Bench;

macro_rules! contract {
    ($($file:ident: $($case:ident),+ $(,)?;)+) => {
        mod in_process {
            use super::Bench;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$file::$case(Bench::in_process()).await;
                }
            )+)+
        }

        mod rabbitmq {
            use super::Bench;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$file::$case(Bench::rabbitmq().await).await;
                }
            )+)+
        }
    };
}

contract! {
    content:
        each_publish_is_delivered_once_with_its_content;
    lanes:
        a_taker_of_interactive_work_gets_nothing_else,
        no_lane_starves;
    settling:
        what_is_acked_is_gone_and_what_is_not_comes_again,
        what_is_rejected_does_not_come_again,
        a_delivery_that_outlives_its_connection_is_not_settled;
    waiting:
        a_broker_says_how_much_it_takes,
        what_nobody_took_is_given_back_by_a_process_that_stops,
        what_waits_too_long_for_somebody_with_time_is_overdue;
}
