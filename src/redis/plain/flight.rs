//! Flights of parts, each of which is on one key and therefore atomic where scripts are taken.

use bytes::Bytes;

use super::super::driver::{Command, Reply, number};
use super::super::scripts::{self, ScriptCall};
use super::super::store::{Store, is_refused_script, is_unknown_script};
use crate::error::{Error, Result};

/// What is done to one key, all together where the server takes scripts.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// One command.
    Command(Command),
    /// A script of its own, and what stands for it where scripts are refused.
    Script(ScriptCall, Vec<Command>),
    /// Commands and a TTL, by a small script or one after the other.
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

    /// A script of its own, and what stands for it where scripts are refused.
    pub(super) fn script(script: ScriptCall, instead: Vec<Command>) -> Self {
        Self::Script(script, instead)
    }

    fn key(&self) -> Bytes {
        let key = match self {
            Self::Command(command) => command.args.first(),
            Self::Script(script, _) => script.keys().first(),
            Self::Group(group) => Some(&group.key),
        };
        key.cloned().unwrap_or_default()
    }

    /// Whether a script is sent where they are taken.
    fn is_script(&self) -> bool {
        match self {
            Self::Command(_) => false,
            Self::Script(..) => true,
            Self::Group(group) => !group.is_alone(),
        }
    }

    /// What is sent, added to the other commands of a flight.
    fn send(&self, way: Way, commands: &mut Vec<Command>) {
        let made;
        let script = match self {
            Self::Command(command) => return commands.push(command.clone()),
            Self::Script(_, instead) if way == Way::Plainly => {
                return commands.extend_from_slice(instead);
            }
            Self::Script(script, _) => script,
            Self::Group(group) if way == Way::Plainly || group.is_alone() => {
                return group.send_plainly(commands);
            }
            Self::Group(group) => {
                made = group.script();
                &made
            }
        };
        commands.push(match way {
            Way::BySource => script.by_source(),
            _ => script.by_hash(),
        });
    }
}

/// Commands on one key, and its TTL.
#[derive(Debug, Clone)]
pub(super) struct Group {
    key: Bytes,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Run(&'static str, Vec<Bytes>),
    Done,
    /// The TTL in milliseconds, whether it is shared, and whether the key was there before, which
    /// a script finds out by itself.
    Ttl(i64, bool, bool),
}

impl Group {
    pub(super) fn on(key: &Bytes) -> Self {
        Self {
            key: key.clone(),
            steps: Vec::new(),
        }
    }

    /// Runs a command on the key.
    pub(super) fn run(mut self, name: &'static str, args: impl IntoIterator<Item = Bytes>) -> Self {
        self.steps.push(Step::Run(name, args.into_iter().collect()));
        self
    }

    /// Goes on only if the last command has done something. Where scripts are refused it does not
    /// go on at all, so what comes after must be sent again when it is known: a TTL that is given
    /// too early may be given to what is kept for ever.
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
    pub(super) fn shared_ttl(mut self, ttl: i64, was_there: bool) -> Self {
        self.steps.push(Step::Ttl(ttl, true, was_there));
        self
    }

    pub(super) fn part(self) -> Part {
        Part::Group(self)
    }

    /// A key that is new and gets no TTL needs no script for the one command.
    fn is_alone(&self) -> bool {
        match &self.steps[..] {
            [Step::Run(..), rest @ ..] => rest
                .iter()
                .all(|step| matches!(step, Step::Done | Step::Ttl(0, false, false))),
            _ => false,
        }
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
        scripts::TOGETHER.call(vec![self.key.clone()], args)
    }

    /// The commands one after the other; whether a key that is shared was there comes first.
    fn send_plainly(&self, commands: &mut Vec<Command>) {
        if self.shared().is_some() {
            commands.push(Command::on("EXISTS", self.key.clone()));
        }
        for step in &self.steps {
            match step {
                Step::Run(name, args) => {
                    let command = Command::on(name, self.key.clone());
                    commands.push(command.args(args.iter().cloned()));
                }
                Step::Done => break,
                Step::Ttl(ttl, shared, was_there) => {
                    commands.extend(expire(&self.key, *ttl, *shared, *was_there));
                }
            }
        }
    }

    /// The TTL of a key that is shared, and whether the key was believed to be there.
    fn shared(&self) -> Option<(i64, bool)> {
        self.steps.iter().find_map(|step| match step {
            Step::Ttl(ttl @ 1.., true, was_there) => Some((*ttl, *was_there)),
            _ => None,
        })
    }

    /// What must follow where no script could look at a shared key first, when it is known whether
    /// it was there, and what giving the TTL did.
    fn follow(&self, was_there: bool, expired: Option<&Reply>) -> Option<Command> {
        let (ttl, was_believed) = self.shared()?;
        let expire = Command::on("PEXPIRE", self.key.clone()).arg(number(ttl));
        match (was_believed, was_there) {
            // To lengthen its TTL gave none to one that was made again.
            (true, false) => Some(expire),
            // Another call has made it, for ever if it had no TTL.
            (false, true) if expired == Some(&Reply::Int(1)) => {
                Some(Command::on("PERSIST", self.key.clone()))
            }
            (false, true) => Some(expire.arg("GT")),
            _ => None,
        }
    }
}

/// The command that gives a key its TTL, as the scripts do.
pub(super) fn expire(key: &Bytes, ttl: i64, shared: bool, was_there: bool) -> Option<Command> {
    if ttl > 0 {
        let command = Command::on("PEXPIRE", key.clone()).arg(number(ttl));
        Some(match (shared, was_there) {
            (true, true) => command.arg("GT"),
            // One that another call makes meanwhile keeps its own.
            (true, false) => command.arg("NX"),
            (false, _) => command,
        })
    } else {
        was_there.then(|| Command::on("PERSIST", key.clone()))
    }
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

/// Names the key of which a server says only that it is of a wrong type.
fn of_key(key: &Bytes, error: Error) -> Error {
    match error {
        Error::Server { reason, .. }
            if reason.contains("WRONGTYPE") || reason.contains("wrong Redis type") =>
        {
            Error::WrongType {
                key: String::from_utf8_lossy(key).into_owned(),
            }
        }
        error => error,
    }
}

impl Store {
    /// Runs parts in one flight; two when a server does not know a script yet.
    pub(super) async fn parts(&self, operation: &'static str, parts: Vec<Part>) -> Result<Answers> {
        let keys: Vec<_> = parts.iter().map(Part::key).collect();
        let mut answers = self.send_parts(operation, &parts, Way::ByHash).await?;
        for (way, is_meant) in [
            (Way::BySource, is_unknown_script as fn(&Error) -> bool),
            (Way::Plainly, is_refused_script),
        ] {
            let again: Vec<usize> = (0..parts.len())
                .filter(|position| {
                    parts[*position].is_script() && answers[*position].as_ref().is_err_and(is_meant)
                })
                .collect();
            let Some(first) = again.first() else { continue };
            if let (Way::Plainly, Err(error)) = (way, &answers[*first]) {
                self.refuse_scripts(error);
            }
            let parts: Vec<_> = again.iter().map(|one| parts[*one].clone()).collect();
            let sent = self.send_parts(operation, &parts, way).await?;
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
        let way = if self.scripts_are_refused() {
            Way::Plainly
        } else {
            way
        };
        let mut commands = Vec::new();
        let mut counts = Vec::with_capacity(parts.len());
        for part in parts {
            let before = commands.len();
            part.send(way, &mut commands);
            let is_script = part.is_script() && way != Way::Plainly;
            let shared = match part {
                Part::Group(group) if !is_script => group.shared().map(|_| group),
                _ => None,
            };
            counts.push((commands.len() - before, is_script, shared));
        }
        let mut replies = self.driver.batch(operation, commands).await?.into_iter();
        let mut answers = Vec::with_capacity(parts.len());
        let mut last = Vec::new();
        for (count, is_script, shared) in counts {
            let replies: Vec<_> = replies.by_ref().take(count).collect();
            let replies: Result<Vec<_>> = replies.into_iter().collect();
            answers.push(replies.map(|mut replies| {
                if let (Some(group), false) = (shared, replies.is_empty()) {
                    let was_there = replies.remove(0) == Reply::Int(1);
                    last.extend(group.follow(was_there, replies.last()));
                }
                match <[Reply; 1]>::try_from(replies) {
                    Ok([Reply::Array(replies)]) if is_script => replies,
                    Ok(replies) => replies.into(),
                    Err(replies) => replies,
                }
            }));
        }
        if !last.is_empty() {
            let done = self.driver.batch(operation, last).await?;
            done.into_iter().collect::<Result<Vec<_>>>()?;
        }
        Ok(answers)
    }
}

/// How parts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ByHash,
    BySource,
    Plainly,
}
