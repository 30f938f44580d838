// Package retention decides which old roots and snapshots are kept and which are removed.
//
// It is one pure function, [Plan]: the roots, the policy, the time and the free space go in, a decision with its reasons
// comes out for each root. Nothing is read and nothing is done.
//
// The rules are those that users of restic know. A root is kept when any rule keeps it:
//
//   - keepLast: the newest n;
//   - keepHourly to keepYearly: the newest root of each of the newest n hours, days, ISO weeks, months, years (in UTC)
//     that have a root at all; while a rule has some of its n left, the oldest root is kept too;
//   - keepLabels: what has one of these labels, as restic's tags;
//   - keepWithin: what is younger than that, counted from the newest root and not from now.
//
// Where a boot at every start of the machine asks for more than restic says:
//
//   - The newest old root is dated when it stopped being the root, which is after a year in a cupboard, if that is where
//     the machine was. keepWithin therefore counts from when the newest root was taken into use, or from the root before
//     it when that is later: a machine that slept for a year keeps its last month.
//   - A root that is dated in the future is ignored by the rules and never removed; so a clock that stands in 1970 makes
//     the daemon remove nothing.
//   - Where two successive roots are more than [Leap] apart, a clock was wrong on one side, and nobody knows on which:
//     the roots of each side are judged by themselves.
//   - What is protected (pinned, booted, …) is kept whatever the rules say, and counts for them.
//   - Leftovers (a staged root that never became the root, a deletion that was interrupted) are removed first, by every
//     policy.
//   - A policy without rules keeps everything.
//   - Below minFree the oldest go too, until there is room or only what keepLast keeps, the newest and what is
//     protected are left.
package retention
