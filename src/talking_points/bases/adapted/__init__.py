"""The paper's roles over a stock vision-language model of transformers: our adapters and heads, its weights frozen."""
