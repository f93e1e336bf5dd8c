//! The arguments of a bench.
#![allow(dead_code, unreachable_pub)]

/// What follows an argument.
pub fn after(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// The numbers that follow an argument, separated by commas.
pub fn numbers(name: &str, otherwise: &[usize]) -> Vec<usize> {
    after(name).map_or(otherwise.to_vec(), |text| {
        let numbers = text.split(',').filter(|number| !number.is_empty());
        numbers.map(|number| number.parse().unwrap()).collect()
    })
}
