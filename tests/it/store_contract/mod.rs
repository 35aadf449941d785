//! One suite for both engines: what `crate::store` says of its methods, case by case.

mod accept;
mod cancel;
mod children;
mod dead_letters;
mod fidelity;
mod intents;
mod keys;
mod lease;
mod outbox;
mod progress;
mod signals;
mod tokens;
mod workers;
mod workflows;

use crate::support::ledger::Ledger;

macro_rules! contract {
    ($($file:ident: $($case:ident),+ $(,)?;)+) => {
        mod sqlite {
            use super::Ledger;
            $($(
                #[tokio::test]
                async fn $case() {
                    let ledger = Ledger::sqlite().await;
                    super::$file::$case(&ledger).await;
                    ledger.remove().await;
                }
            )+)+
        }

        mod postgres {
            use super::Ledger;
            $($(
                #[tokio::test]
                async fn $case() {
                    let ledger = Ledger::postgres().await;
                    super::$file::$case(&ledger).await;
                    ledger.remove().await;
                }
            )+)+
        }
    };
}

contract! {
    keys:
        a_key_leads_to_what_was_accepted_under_it,
        a_refusal_keeps_no_key,
        keys_of_organisations_are_apart,
        a_key_is_forgotten_after_a_day,
        promise_2_one_key_makes_one_run,
        only_so_many_runs_of_an_organisation_are_under_way;
    accept:
        a_start_is_stored_once,
        migrations_may_run_any_number_of_times,
        promise_1_an_accepted_retry_is_reserved_and_due,
        promise_2_one_retry_one_new_run,
        promise_2_the_schema_itself_keeps_one_line,
        what_is_not_retryable_is_refused,
        a_second_retry_names_the_head_of_the_chain,
        a_chain_has_one_live_retry,
        a_retry_that_came_to_nothing_does_not_count,
        a_chain_has_a_longest,
        imports_join_the_chain_of_their_source,
        other_organisations_see_nothing;
    lease:
        promise_2_a_claim_is_taken_once,
        what_is_not_due_is_not_claimed,
        promise_4_a_worker_that_lost_its_lease_cannot_write,
        lost_leases_are_counted_until_a_node_has_an_outcome,
        a_released_run_is_due_and_lost_nothing,
        leases_are_renewed_while_they_are_held,
        all_leases_expire_at_a_restart;
    progress:
        promise_5_the_source_run_is_never_changed,
        reused_records_keep_their_order_and_their_origin,
        a_plan_that_reuses_what_is_not_there_writes_nothing,
        a_refused_retry_ends_its_run,
        a_checkpoint_replaces_records_in_their_place,
        variable_writes_come_in_order_of_the_line,
        a_parked_run_is_due_at_its_time,
        a_finished_run_never_changes,
        an_uncreated_run_ends_only_by_refusal_or_cancellation;
    cancel:
        a_run_that_nobody_holds_is_cancelled_at_once,
        promise_4_a_cancelled_run_takes_no_writes,
        nodes_under_way_are_cancelled_with_their_run,
        a_holder_is_asked,
        a_cancellation_and_an_end_meet_in_either_order,
        a_run_that_has_ended_is_not_cancelled;
    outbox:
        relays_never_get_the_same_row,
        a_relay_that_died_gives_its_rows_back,
        a_late_mark_does_not_hide_a_new_row,
        promise_1_what_was_forgotten_is_due_again,
        the_queue_is_swept_part_by_part,
        promise_1_a_lost_message_is_sent_again,
        organisations_take_turns,
        every_lane_has_its_own_room,
        rows_that_were_not_sent_are_given_back,
        the_backlog_is_counted;
    dead_letters:
        what_cannot_be_used_is_kept_until_it_is_dropped;
    intents:
        an_intent_is_accepted_like_a_retry,
        promise_2_an_intent_that_comes_often_is_one_retry,
        an_intent_may_not_take_the_id_of_a_run,
        a_refused_intent_is_a_retry_without_a_run,
        the_ids_of_intents_belong_to_their_organisation;
    workers:
        slots_count_while_their_worker_lives,
        the_window_counts_what_was_sent_by_lane,
        those_who_are_to_be_cancelled_are_told_apart,
        the_clock_is_about_ours;
    fidelity:
        promise_7_data_comes_back_as_it_went_in,
        runs_are_listed_newest_first,
        retries_are_listed_newest_first;
    signals:
        a_resume_makes_its_run_due_and_the_first_one_counts,
        only_a_node_that_waits_is_resumed,
        a_resume_that_meets_the_worker_is_not_lost,
        those_who_have_signals_are_told_apart,
        a_resume_that_came_before_the_time_out_counts,
        promise_4_a_worker_without_its_lease_ends_no_wait;
    workflows:
        another_definition_is_another_version,
        workflows_belong_to_their_organisation,
        values_live_on_a_workflow_until_they_are_unset,
        what_a_run_writes_to_its_workflow_outlives_it,
        promise_4_a_worker_without_its_lease_writes_no_value;
    children:
        a_child_is_there_with_the_checkpoint_that_starts_it,
        promise_4_a_worker_without_its_lease_starts_no_child,
        every_end_of_a_child_wakes_its_parent,
        a_parent_that_waits_for_something_else_first_is_woken_too,
        a_child_that_ended_while_its_parent_was_held_makes_it_due,
        the_head_is_the_newest_run_that_counts;
    tokens:
        tokens_live_until_they_are_revoked;
}
