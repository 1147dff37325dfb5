"""One training step by Hugging Face transformers, eager: the peer of bench_step.

  step N   N steps of the same batch; {"seconds": [N], "loss": of the first, "memory": peak bytes above those of the process
           before the weights were read}
"""
import argparse, json, time
import torch
from transformers import AutoModelForCausalLM
from peer import memory_now, peak_memory, serve

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--ids", required=True, help="JSON list of lists of token ids, all of one length")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--autocast", action="store_true", help="bf16 autocast")
options = parser.parse_args()

torch.set_num_threads(options.threads)
empty = memory_now()
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
model.train()
for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
ids = torch.tensor(json.loads(open(options.ids).read()))
adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)


def step():
    with torch.autocast("cpu", torch.bfloat16, enabled=options.autocast):
        loss = model(ids, labels=ids, use_cache=False).loss
    loss.backward()
    adam.step()
    adam.zero_grad(set_to_none=True)
    return loss.item()


def steps(count):
    seconds, first = [], None
    for _ in range(int(count)):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
        first = loss if first is None else first
    return {"seconds": seconds, "loss": first, "memory": peak_memory() - empty}


serve({"step": steps})
