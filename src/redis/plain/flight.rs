//! Pipelines of parts, each of which is on one key and therefore atomic.

use bytes::Bytes;

use super::super::driver::{Command, Reply, number};
use super::super::error::{is_unknown_script, of_key};
use super::super::scripts::{self, ScriptCall};
use super::super::store::Store;
use crate::error::{Error, Result};

/// What is done to one key, all together.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// One command.
    Command(Command),
    /// A script of its own.
    Script(ScriptCall),
    /// Commands and a TTL, by a small script.
    Group(Group),
}

impl Part {
    /// One command.
    pub(super) fn command(command: Command) -> Self {
        Self::Command(command)
    }

    /// A command on a key, with arguments.
    pub(super) fn of<'a>(
        name: &'static str,
        key: &Bytes,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let args = args.into_iter().map(Bytes::copy_from_slice);
        Self::Command(Command::on(name, key.clone()).args(args))
    }

    /// A script of its own.
    pub(super) fn script(script: ScriptCall) -> Self {
        Self::Script(script)
    }

    fn key(&self) -> Bytes {
        let key = match self {
            Self::Command(command) => command.args.first(),
            Self::Script(script) => script.keys().first(),
            Self::Group(group) => Some(&group.key),
        };
        key.cloned().unwrap_or_default()
    }

    /// Whether a script is sent.
    fn is_script(&self) -> bool {
        match self {
            Self::Command(_) => false,
            Self::Script(_) => true,
            Self::Group(group) => group.alone().is_none(),
        }
    }

    /// What is sent.
    fn command_to_send(&self, way: Way) -> Command {
        let made;
        let script = match self {
            Self::Command(command) => return command.clone(),
            Self::Script(script) => script,
            Self::Group(group) => {
                if let Some(command) = group.alone() {
                    return command;
                }
                made = group.script();
                &made
            }
        };
        match way {
            Way::ByHash => script.by_hash(),
            Way::BySource => script.by_source(),
        }
    }
}

/// Commands on one key, and its TTL.
#[derive(Debug, Clone)]
pub(super) struct Group {
    key: Bytes,
    steps: Vec<Step>,
    when_full: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Run(&'static str, Vec<Bytes>),
    Done,
    /// The TTL in milliseconds, whether it is shared, and whether the key may have been there
    /// before, with a TTL of its own.
    Ttl(i64, bool, bool),
}

impl Group {
    pub(super) fn on(key: &Bytes) -> Self {
        Self {
            key: key.clone(),
            steps: Vec::new(),
            when_full: false,
        }
    }

    /// Does so also on a server that has no memory left: for what is part of freeing some.
    pub(super) fn even_when_full(mut self) -> Self {
        self.when_full = true;
        self
    }

    /// Runs a command on the key.
    pub(super) fn run(mut self, name: &'static str, args: impl IntoIterator<Item = Bytes>) -> Self {
        self.steps.push(Step::Run(name, args.into_iter().collect()));
        self
    }

    /// Goes on only if the last command has done something.
    pub(super) fn if_done(mut self) -> Self {
        self.steps.push(Step::Done);
        self
    }

    /// Gives the key a TTL of its own, 0 for none.
    pub(super) fn ttl(mut self, ttl: i64, was_there: bool) -> Self {
        self.steps.push(Step::Ttl(ttl, false, was_there));
        self
    }

    /// Gives the key, which is shared by things of different TTLs, the longest.
    pub(super) fn shared_ttl(mut self, ttl: i64) -> Self {
        self.steps.push(Step::Ttl(ttl, true, true));
        self
    }

    pub(super) fn part(self) -> Part {
        Part::Group(self)
    }

    /// The one command: a key that is new and gets no TTL needs no script for it.
    fn alone(&self) -> Option<Command> {
        let [Step::Run(name, args), rest @ ..] = &self.steps[..] else {
            return None;
        };
        let needs_nothing = |step: &Step| matches!(step, Step::Done | Step::Ttl(0, false, false));
        let is_alone = !self.when_full && rest.iter().all(needs_nothing);
        is_alone.then(|| {
            let command = Command::on(name, self.key.clone());
            command.args(args.iter().cloned())
        })
    }

    fn script(&self) -> ScriptCall {
        let mut args = Vec::new();
        for step in &self.steps {
            match step {
                Step::Run(name, more) => {
                    args.extend([number(more.len()), Bytes::from_static(name.as_bytes())]);
                    args.extend_from_slice(more);
                }
                Step::Done => args.extend(["0", "done"].map(Bytes::from)),
                Step::Ttl(ttl, shared, _) => {
                    let name = if *shared { "shared" } else { "own" };
                    args.extend([number(1), Bytes::from(name), number(*ttl)]);
                }
            }
        }
        let script = if self.when_full {
            &scripts::TOGETHER_WHEN_FULL
        } else {
            &scripts::TOGETHER
        };
        script.call(vec![self.key.clone()], args)
    }
}

/// The command that gives a key that holds one thing its TTL, as the scripts do; 0 is none.
pub(super) fn expire(key: &Bytes, ttl: i64) -> Command {
    if ttl > 0 {
        Command::on("PEXPIRE", key.clone()).arg(number(ttl))
    } else {
        Command::on("PERSIST", key.clone())
    }
}

/// The same for a key that is shared by things of different TTLs, which gets the longest.
pub(super) fn expire_shared(key: &Bytes, ttl: i64) -> Command {
    let command = expire(key, ttl);
    if ttl > 0 { command.arg("GT") } else { command }
}

/// The answers to the parts of a flight, in their order.
#[derive(Debug)]
pub(super) struct Answers(std::vec::IntoIter<(Bytes, Result<Vec<Reply>>)>);

impl Answers {
    /// What the commands of the next part returned.
    pub(super) fn all(&mut self) -> Result<Vec<Reply>> {
        let Some((key, answer)) = self.0.next() else {
            return Err(Error::Closed);
        };
        answer.map_err(|error| of_key(&key, error))
    }

    /// What the first command of the next part returned.
    pub(super) fn one(&mut self) -> Result<Reply> {
        Ok(self.all()?.into_iter().next().unwrap_or(Reply::Nil))
    }

    /// The number that the next part returned, 0 for none.
    pub(super) fn int(&mut self) -> Result<i64> {
        Ok(self.one()?.as_int().unwrap_or(0))
    }

    /// The numbers that the next so many parts returned.
    pub(super) fn ints(&mut self, count: usize) -> Result<Vec<i64>> {
        (0..count).map(|_| self.int()).collect()
    }

    /// The bytes that the next part returned.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.one()?.into_bytes())
    }

    /// The list of bytes that the next part returned.
    pub(super) fn list(&mut self) -> Result<Vec<Bytes>> {
        let list = self.one()?.into_array().into_iter();
        Ok(list.filter_map(Reply::into_bytes).collect())
    }

    /// Requires that all that is left went well.
    pub(super) fn finish(mut self) -> Result<()> {
        while self.0.len() > 0 {
            self.all()?;
        }
        Ok(())
    }
}

impl Store {
    /// Runs parts in one pipeline; two when a server does not know a script yet.
    pub(super) async fn parts(&self, operation: &'static str, parts: Vec<Part>) -> Result<Answers> {
        if parts.is_empty() {
            return Ok(Answers(Vec::new().into_iter()));
        }
        let keys: Vec<_> = parts.iter().map(Part::key).collect();
        let mut answers = self.send_parts(operation, &parts, Way::ByHash).await?;
        let again: Vec<usize> = (0..parts.len())
            .filter(|position| {
                let answer = answers[*position].as_ref();
                parts[*position].is_script() && answer.is_err_and(is_unknown_script)
            })
            .collect();
        if !again.is_empty() {
            let parts: Vec<_> = again.iter().map(|one| parts[*one].clone()).collect();
            let sent = self.send_parts(operation, &parts, Way::BySource).await?;
            for (position, answer) in again.into_iter().zip(sent) {
                answers[position] = answer;
            }
        }
        let answers: Vec<_> = keys.into_iter().zip(answers).collect();
        Ok(Answers(answers.into_iter()))
    }

    async fn send_parts(
        &self,
        operation: &'static str,
        parts: &[Part],
        way: Way,
    ) -> Result<Vec<Result<Vec<Reply>>>> {
        let commands = parts.iter().map(|part| part.command_to_send(way));
        let replies = self.driver.batch(operation, commands.collect()).await?;
        let answers = parts.iter().zip(replies).map(|(part, reply)| {
            reply.map(|reply| match reply {
                Reply::Array(replies) if part.is_script() => replies,
                reply => vec![reply],
            })
        });
        Ok(answers.collect())
    }
}

/// How scripts are sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    ByHash,
    BySource,
}
