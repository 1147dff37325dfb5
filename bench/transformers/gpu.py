"""Training steps of random weights on a GPU by Hugging Face transformers: the peer of bench_gpu.

  step N   N steps of one batch in bf16 autocast with fp32 weights and a fused AdamW, eager or compiled; {"seconds": a step, the mean
           behind the first third, "memory": peak bytes}
  el S     EL_n's generations of S of the prefixes of one sequence, one generate() each; {"seconds": for one}
"""
import argparse, json, time
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from peer import serve

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True, help="config.json as text")
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--tokens", type=int, required=True)
parser.add_argument("--device", default="cuda")
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()

torch.manual_seed(1)
fields = json.loads(options.config)
config = AutoConfig.for_model(fields.pop("model_type"), **fields)
model = AutoModelForCausalLM.from_config(config).to(options.device)
ids = torch.randint(config.vocab_size, (options.batch, options.tokens), device=options.device)


def wait():
    if options.device != "cpu":
        torch.cuda.synchronize()


def steps(count):
    model.train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)

    def forward():
        with torch.autocast(torch.device(options.device).type, torch.bfloat16):
            return model(ids, labels=ids, use_cache=False).loss

    forward = torch.compile(forward) if options.compile else forward
    warm = int(count) // 3
    for i in range(int(count)):
        if i == warm:
            wait()
            begin = time.perf_counter()
        forward().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
    wait()
    seconds = (time.perf_counter() - begin) / (int(count) - warm)
    return {"seconds": seconds, "memory": torch.cuda.max_memory_reserved() if options.device != "cpu" else 0}


def generations(count):
    model.eval()
    model.generation_config.eos_token_id = None
    total = options.tokens
    lengths = range(1, total)[total // int(count) // 2::total // int(count)]

    def generate(length):
        with torch.no_grad():
            model.generate(ids[:1, :length], do_sample=False, pad_token_id=0, min_new_tokens=total - length,
                           max_new_tokens=total - length)

    generate(total // 2)
    wait()
    begin = time.perf_counter()
    for length in lengths:
        generate(length)
    wait()
    return {"seconds": (time.perf_counter() - begin) / len(lengths)}


serve({"step": steps, "el": generations})
