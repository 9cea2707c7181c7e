// Weights of the search. A name of the reference comes before pages that only mention it, and a class before functions.
var Scorer = {
  score: ([, , , description, score]) => score + (description && description.startsWith("Python class") ? 10 : 0),
  objNameMatch: 40,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
