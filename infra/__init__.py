"""The AWS infrastructure, as CDK constructs. For each folder in functions/, a module has the function's resources."""
