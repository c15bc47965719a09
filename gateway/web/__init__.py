"""HTTP only: parse a request, call one function below, render one answer."""
