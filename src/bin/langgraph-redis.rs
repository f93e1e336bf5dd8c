//! The command line of the Redis saver.

use std::process::ExitCode;

fn main() -> ExitCode {
    langgraph_checkpoint_redis::cli::main()
}
