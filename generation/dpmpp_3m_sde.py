"""DPM-Solver++(3M) SDE, the sampler that A1111 and ComfyUI call `DPM++ 3M SDE`.

diffusers has the frame of it. In its third-order update the sign of a half is turned, so that the second difference
counts where it should vanish with the step; the update here is that of Katherine Crowson's k-diffusion
(`sample_dpmpp_3m_sde`, eta 1), whose lower orders at the start and whose last step diffusers makes as well.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor


class DPMSolver3MSDEScheduler(DPMSolverMultistepScheduler):  # type: ignore[misc]
    """The third-order multistep solver of the reverse diffusion SDE."""

    def multistep_dpm_solver_third_order_update(
        self, model_output_list: list[Tensor], *_: Any, sample: Tensor, noise: Tensor, **__: Any
    ) -> Tensor:
        """Return the sample of the next step.

        Args:
            model_output_list: The last three predictions of the clean sample, the newest last.
            sample: Of this step.
            noise: Of variance 1, of the sample's shape.
        """
        here = self.step_index
        scales = [self._sigma_to_alpha_sigma_t(self.sigmas[here + offset]) for offset in (1, 0, -1, -2)]
        # Half the logarithm of the signal-to-noise ratio: of the next step, this one, and the two before.
        ratios = [torch.log(alpha) - torch.log(sigma) for alpha, sigma in scales]
        alpha, sigma = scales[0]
        width, before, earlier = (ratios[place] - ratios[place + 1] for place in range(3))
        newest, older, oldest = reversed(model_output_list[-3:])

        first, second = (newest - older) * width / before, (older - oldest) * width / earlier
        bend = (first - second) * width / (before + earlier)
        slope = first + bend * before / width
        twice = 2 * width
        linear = torch.expm1(-twice) / twice + 1
        square = linear / twice - 0.5
        drift = -torch.expm1(-twice) * newest + linear * slope - square * bend
        spread = sigma * torch.sqrt(-torch.expm1(-twice))
        after: Tensor = sigma / scales[1][1] * torch.exp(-width) * sample + alpha * drift + spread * noise
        return after
