"""The paper's trainings: a page of promise, cost and numbers for each of its four data sets."""
