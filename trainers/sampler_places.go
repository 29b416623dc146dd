package trainers

// maxPlaces bounds the voxels of one case that are remembered, and maxPerClass
// those of one class; minPerClass are kept however many classes there are.
const (
	maxPlaces   = 1 << 14
	maxPerClass = 1 << 11
	minPerClass = 1 << 6
)

// places are voxels of a case that a patch may be centred on. Voxels are
// indices into the array axes, the last one fastest.
type places struct {
	size     [3]int
	classes  [][]uint32 // voxels of each class present, the background excepted, by class
	labelled []uint32   // voxels that are not ignored; nil when none is
}

// placesOf finds the voxels of the classes of a case, evenly spread over all
// there are: the voxels of a class are cut into equal runs in the array's
// order, and one is drawn of each. ignored is the class index of voxels that do
// not count, 0 for none.
func placesOf(s *Sample, ignored int, seed uint64) *places {
	counts := countClasses(s.Labels)
	p := &places{size: s.Size}
	var wanted []int
	for class, n := range counts {
		if n > 0 && class > 0 && (ignored == 0 || class != ignored) {
			wanted = append(wanted, class)
		}
	}
	most := min(max(maxPlaces/max(len(wanted), 1), minPerClass), maxPerClass)
	pickers := make([]*picker, len(counts))
	for _, class := range wanted {
		pickers[class] = newPicker(counts[class], most, newDraws(seed, forPlaces, s.ID, class))
	}
	var labelled *picker
	if ignored > 0 && ignored < len(counts) && counts[ignored] > 0 {
		labelled = newPicker(len(s.Labels)-counts[ignored], maxPerClass, newDraws(seed, forPlaces, s.ID, ignored))
	}
	for i, class := range s.Labels {
		if k := pickers[class]; k != nil {
			k.meet(i)
		}
		if labelled != nil && int(class) != ignored {
			labelled.meet(i)
		}
	}
	for _, class := range wanted {
		p.classes = append(p.classes, pickers[class].voxels)
	}
	if labelled != nil {
		p.labelled = labelled.voxels
	}
	return p
}

// countClasses counts the voxels by class index.
func countClasses(labels []uint16) []int {
	var top uint16
	for _, l := range labels {
		top = max(top, l)
	}
	counts := make([]int, int(top)+1)
	for _, l := range labels {
		counts[l]++
	}
	return counts
}

// picker keeps up to a number of the n voxels that it meets.
type picker struct {
	n, most int
	d       *draws
	met     int
	next    int // the one to be kept next, counted from 0
	voxels  []uint32
}

func newPicker(n, most int, d *draws) *picker {
	k := &picker{n: n, most: min(n, most), d: d}
	k.voxels = make([]uint32, 0, k.most)
	k.aim()
	return k
}

// aim draws the voxel to be kept of the next run.
func (k *picker) aim() {
	if len(k.voxels) == k.most {
		k.next = -1
		return
	}
	from := len(k.voxels) * k.n / k.most
	to := (len(k.voxels) + 1) * k.n / k.most
	k.next = from + k.d.below(to-from)
}

func (k *picker) meet(voxel int) {
	if k.met == k.next {
		k.voxels = append(k.voxels, uint32(voxel)) //nolint:gosec // prepared cases have fewer than 2³² voxels
		k.aim()
	}
	k.met++
}

// choose returns the voxel that a patch is centred on; false for a patch
// anywhere. Foreground means a voxel of a class that is drawn evenly among those
// present. Where much of a case is unlabelled, other patches are centred on any
// labelled voxel.
func (p *places) choose(foreground bool, d *draws) (voxel [3]int, ok bool) {
	from := p.labelled
	class, place := d.unit(), d.unit()
	if foreground && len(p.classes) > 0 {
		from = p.classes[int(class*float64(len(p.classes)))]
	}
	if len(from) == 0 {
		return voxel, false
	}
	i := int(from[int(place*float64(len(from)))])
	plane := p.size[1] * p.size[2]
	return [3]int{i / plane, i / p.size[2] % p.size[1], i % p.size[2]}, true
}
