//! Looks at real processes, and at folders made to look like `/proc`.

mod fake_proc;
mod real;
