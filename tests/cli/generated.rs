//! What the command line generates from its own definition: completions and manual pages.

use crate::command::Cli;

#[test]
fn completions_are_there_for_every_shell() {
    let cli = Cli::without_server();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = cli.run(&["completions", shell]).ok();
        assert!(
            text.contains("langgraph-redis") && text.contains("history"),
            "{shell}"
        );
    }
    assert_eq!(cli.run(&["completions", "dos"]).code, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let cli = Cli::without_server();
    let folder = cli.file("man1");
    cli.run(&["man", &folder]).ok();
    let page = |name: &str| std::fs::read_to_string(format!("{folder}/{name}.1")).unwrap();
    let contents = page("langgraph-redis");
    assert!(contents.contains("Exit codes"), "{contents}");
    let help = cli.run(&["--help"]).ok();
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("\n\n").next().unwrap().lines();
    let commands: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !command.is_empty() && *command != "help")
        .collect();
    assert!(commands.contains(&"man"), "{commands:?}");
    for command in commands {
        let written = page(&format!("langgraph-redis-{command}"));
        assert!(written.contains(".SH OPTIONS"), "{command}: {written}");
        let reference = format!("langgraph\\-redis\\-{}(1)", command.replace('-', "\\-"));
        assert!(contents.contains(&reference), "{reference}: {contents}");
    }
    std::fs::write(cli.file("a-file"), "").unwrap();
    let refused = cli.run(&["man", &cli.file("a-file")]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("a-file"), "{refused:?}");
}
