//! The `redrive` binary.

use std::process::ExitCode;

use clap::Parser;
use redrive::cli::{Cli, run};

fn main() -> ExitCode {
    // Before there is a second thread.
    share_one_heap();
    run_to_end()
}

#[tokio::main]
async fn run_to_end() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.error_format();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(format),
    }
}

/// Has all threads allocate from one heap. glibc gives each thread one of its own and keeps what
/// was freed there: a retry of ten thousand nodes moves over threads, and left 80 MiB behind
/// where it needs 40.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_one_heap() {
    #[expect(unsafe_code, reason = "the one way to tell glibc")]
    // SAFETY: a setting of the allocator, which takes its own lock.
    // What it answers is left: without it everything works, and takes more memory.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn share_one_heap() {}
