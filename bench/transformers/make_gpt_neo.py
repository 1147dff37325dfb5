"""Makes a GPT-Neo of 125M parameters with random weights, for bench_step --model DIR.

  python bench/transformers/make_gpt_neo.py DIR
"""
import sys
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

torch.manual_seed(1)
config = GPTNeoConfig(hidden_size=768, num_layers=12, num_heads=12, attention_types=[[["global", "local"], 6]])
GPTNeoForCausalLM(config).save_pretrained(sys.argv[1])
